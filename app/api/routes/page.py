"""`GET /` and `GET /web/…`: the page, which needs no key; what it asks of `/v1` does."""

from fastapi import APIRouter, Request, Response

from app.errors import NotFound
from app.service import Service
from app.web import PAGE, web_file

router = APIRouter(include_in_schema=False)

HEADERS = {
    # The page is its own files and nothing else; photographs are blobs, heatmaps are data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    # Asked for again each time, so that its files are always of one version.
    "Cache-Control": "no-cache",
}


@router.get("/")
async def page(request: Request) -> Response:
    """The page that shows what the service does."""
    return _file(request, PAGE)


@router.get("/web/{name}")
async def page_file(request: Request, name: str) -> Response:
    """One of the files that the page is made of."""
    return _file(request, name)


def _file(request: Request, name: str) -> Response:
    service: Service = request.app.state.service
    try:
        if not service.settings.page:
            raise KeyError(name)
        file = web_file(name)
    except KeyError as error:
        raise NotFound("No such path; /docs lists them all.") from error
    headers = HEADERS | {"ETag": file.etag}
    if _has(request.headers.get("if-none-match", ""), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.media_type)


def _has(known: str, etag: str) -> bool:
    """Whether an If-None-Match header names the tag; weak ones count (RFC 9110, 13.1.2)."""
    return etag in (tag.strip().removeprefix("W/") for tag in known.split(","))
