"""The page of a service that has API keys, or several models."""

from pathlib import Path

from app.keys import new_key
from proof.harness.checkpoints import LITE, renamed_checkpoint
from tests.app.web.browser import Browser
from tests.conftest import running_server

POINTS = "document.querySelectorAll('.point').length === 68"


def test_the_page_needs_no_key_and_what_it_asks_does(browser: Browser) -> None:
    key, entry = new_key("web")
    with running_server(api_keys=entry) as url, browser.tab() as tab:
        tab.open(f"{url}/")
        tab.wait("access.open")
        tab.run("sample.click()")
        told = tab.wait("!problem.hidden && problem.textContent")
        assert "Authorization: Bearer" in told
        assert tab.run("document.activeElement.id") == "key"
        tab.ask("Input.insertText", text=key)
        tab.run("sample.click()")
        tab.wait(POINTS)
        command = tab.run("document.getElementById('curl').textContent")
        assert '"Authorization: Bearer $KEY"' in command
        assert key not in command
        assert tab.run("localStorage.length") == 0
        assert tab.run("document.cookie") == ""
        assert not [address for address in tab.requests() if key in address]
        # Reloaded, the tab still knows it.
        tab.open(f"{url}/?again")
        tab.run("sample.click()")
        tab.wait(POINTS)
    with running_server(api_keys=entry) as url, browser.tab() as tab:
        tab.open(f"{url}/")
        assert tab.run("document.getElementById('key').value") == ""


def test_of_several_models_one_is_chosen(browser: Browser, tmp_path: Path) -> None:
    other = renamed_checkpoint(tmp_path / "other", "other")
    with running_server(checkpoint_dirs=f"{LITE},{other}") as url, browser.tab() as tab:
        tab.open(f"{url}/")
        names = tab.wait(
            "!document.getElementById('model-choice').hidden"
            " && [...model.options].map((option) => option.value)"
        )
        assert names == [LITE.name, "other"]
        tab.run("model.value = 'other', sample.click()")
        tab.wait(POINTS)
        asked = [address for address in tab.requests() if "/v1/align" in address]
        assert asked == [f"{url}/v1/align?pose=true&heatmap=true&model=other"]
