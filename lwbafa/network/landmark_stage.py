"""Stage 2: landmarks regressed under the guidance of the boundary heatmaps (paper, section 3.2).

The paper fixes convolution and blur pooling, an SAFeature module (branches whose outer products
make new maps, fused by self-attention) and a DeLighT encoder. How SAFeature wires them together is
our choice: no reference code is public.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwbafa.network.architectures import Architecture
from lwbafa.network.blocks import BlurPool, ConvNorm, SeparableConvNorm

GRID = 16
TOKEN_WIDTH = GRID * GRID
"""A landmark's token is its own map."""


class GuidedBranch(nn.Sequential):
    """Boundary-stage features to `outputs` channels on the 16×16 grid, with anti-aliased halvings.

    Of one or two halvings, the first comes after the first convolution.
    """

    def __init__(self, shape: Architecture, inputs: int, widths: tuple[int, int]) -> None:
        first, second = widths
        super().__init__(
            SeparableConvNorm(inputs, first)
            if shape.separable_branches
            else ConvNorm(inputs, first, 3),
            BlurPool(first),
            ConvNorm(first, second, 3),
            BlurPool(second) if shape.halvings == 2 else nn.Identity(),
            ConvNorm(second, shape.feature_width),
        )


class AxisProfile(nn.Module):
    """Mean over one axis of a branch, then a grouped 1-D convolution and a sigmoid.

    B×F×16×16 to B×F×1×16 (`axis` 2) or B×F×16×1 (`axis` 3).
    """

    def __init__(self, width: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.conv = nn.Conv1d(width, width, 3, padding=1, groups=32)

    def forward(self, branch: Tensor) -> Tensor:
        # The 1-D weights in two dimensions, since one would cost changes of layout there and back.
        window, padding = ((GRID, 1), (0, 1)) if self.axis == 2 else ((1, GRID), (1, 0))
        mean = F.avg_pool2d(branch, window)
        weight = self.conv.weight.unsqueeze(self.axis)
        return torch.sigmoid(
            F.conv2d(mean, weight, self.conv.bias, padding=padding, groups=self.conv.groups)
        )


class SAFeature(nn.Module):
    """Cross-gates three branches by outer products of their profiles, fuses by self-attention.

    Three B×F×16×16 in, B×F×16×16 out. Keys and values are means over `pool` × `pool` positions.
    """

    def __init__(self, width: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.rows = nn.ModuleList(AxisProfile(width, axis=3) for _ in range(3))
        self.columns = nn.ModuleList(AxisProfile(width, axis=2) for _ in range(3))
        self.fuse = ConvNorm(6 * width, width)
        self.positions = nn.Parameter(torch.zeros(GRID * GRID, width))
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, branches: list[Tensor]) -> Tensor:
        rows = [row(branch) for row, branch in zip(self.rows, branches, strict=True)]
        columns = [column(branch) for column, branch in zip(self.columns, branches, strict=True)]
        crossed = [
            branch * rows[(i + 1) % 3] * columns[(i + 2) % 3] for i, branch in enumerate(branches)
        ]
        x = self.fuse(torch.cat((*branches, *crossed), dim=1))
        tokens = x.flatten(2).transpose(1, 2) + self.positions
        q, k, v = (
            t.reshape(*t.shape[:2], 4, -1).transpose(1, 2)
            for t in self._queries_keys_values(self.norm(tokens))
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = torch.add(tokens, self.out(attended))
        return tokens.transpose(1, 2).reshape(*tokens.shape[::2], GRID, GRID)

    def _queries_keys_values(self, tokens: Tensor) -> tuple[Tensor, ...]:
        if self.pool == 1:
            return self.qkv(tokens).chunk(3, dim=2)  # type: ignore[no-any-return]
        width = tokens.shape[2]
        maps = tokens.transpose(1, 2).reshape(*tokens.shape[::2], GRID, GRID)
        means = F.avg_pool2d(maps, self.pool).flatten(2).transpose(1, 2)
        weight, bias = self.qkv.weight, self.qkv.bias
        queries = F.linear(tokens, weight[:width], bias[:width])
        return queries, *F.linear(means, weight[width:], bias[width:]).chunk(2, dim=2)


class GroupLinear(nn.Module):
    """Group linear transform of DeLighT: linear per group, shuffle, LayerNorm per group, GELU.

    B×N×inputs to B×N×outputs (Mehta et al., ICLR 2021, section 3.1).
    """

    order: Tensor

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(groups, inputs // groups, outputs // groups))
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs // groups))
        self.norm = nn.LayerNorm(outputs // groups)
        order = torch.arange(outputs).reshape(groups, -1).T.flatten()
        self.register_buffer("order", order, persistent=False)
        nn.init.normal_(self.weight, std=(inputs // groups) ** -0.5)

    def forward(self, previous: Tensor, expanded_input: Tensor | None) -> Tensor:
        batch, tokens = previous.shape[:2]
        grouped = (batch, tokens, self.groups, -1)
        x = previous.reshape(grouped)
        if expanded_input is not None:
            x = torch.cat((x, expanded_input.reshape(grouped)), dim=3)
        x = x.flatten(0, 1).transpose(0, 1)
        x = (torch.bmm(x, self.weight) + self.bias).transpose(0, 1)
        if self.groups > 1:
            # Gathered, since OpenVINO takes six times as long to transpose so few groups.
            x = x.reshape(batch * tokens, -1).index_select(1, self.order)
            x = x.reshape(batch * tokens, self.groups, -1)
        return F.gelu(self.norm(x)).reshape(batch, tokens, -1)


class DExTra(nn.Module):
    """DeLighT transformation: deep and thin, 256 → 128 → grouped layers → 128.

    `shapes` holds (inputs, outputs, groups) of each group linear transform; from the second on, a
    layer also reads the 128-wide input.
    """

    def __init__(self, shapes: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Linear(TOKEN_WIDTH, 128), nn.LayerNorm(128), nn.GELU())
        self.layers = nn.ModuleList(GroupLinear(*shape) for shape in shapes)
        self.merge = nn.Sequential(nn.Linear(256, 128), nn.LayerNorm(128), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.reduce(x)
        x = self.layers[0](narrow, None)
        for layer in self.layers[1:]:
            x = layer(x, narrow)
        return self.merge(torch.cat((x, narrow), dim=2))  # type: ignore[no-any-return]


class DeLighTBlock(nn.Module):
    """x + attention(DExTra(LN x)), then x + light FFN(LN x): B×N×256 in and out."""

    def __init__(self, shapes: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(TOKEN_WIDTH)
        self.dextra = DExTra(shapes)
        self.qkv = nn.Linear(128, 384)
        self.out = nn.Linear(128, TOKEN_WIDTH)
        self.ffn = nn.Sequential(
            nn.LayerNorm(TOKEN_WIDTH),
            nn.Linear(TOKEN_WIDTH, TOKEN_WIDTH // 4),
            nn.GELU(),
            nn.Linear(64, TOKEN_WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.dextra(self.attention_norm(x))).chunk(3, dim=2)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v))
        return x + self.ffn(x)  # type: ignore[no-any-return]


# Block-wise scaling: depths 4, 6, 8; width multipliers 2, 2.5, 3 (DeLighT, section 3.2).
DELIGHT_SHAPES = (
    ((128, 128, 2), (256, 512, 4), (640, 512, 4), (640, 128, 2)),
    (
        *((128, 128, 2), (256, 384, 4), (512, 640, 8)),
        *((768, 640, 8), (768, 384, 4), (512, 128, 2)),
    ),
    (
        *((128, 128, 2), (256, 344, 4), (472, 560, 8), (688, 768, 8)),
        *((896, 768, 8), (896, 560, 8), (688, 344, 4), (472, 128, 2)),
    ),
)


class DeLighTHead(nn.Module):
    """One token per landmark from its own 16×16 map, refined by DeLighT blocks: B×N×256."""

    def __init__(self, width: int, landmarks: int, blocks: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(width, landmarks, 1)
        self.embedding = nn.Parameter(torch.zeros(landmarks, GRID * GRID))
        self.blocks = nn.Sequential(*(DeLighTBlock(shapes) for shapes in DELIGHT_SHAPES[:blocks]))
        self.norm = nn.LayerNorm(TOKEN_WIDTH)
        nn.init.normal_(self.embedding, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.maps(x).flatten(2) + self.embedding
        return self.norm(self.blocks(tokens))  # type: ignore[no-any-return]


class TransformerHead(nn.Module):
    """BAFA's vanilla Transformer: 256 position tokens encoded, N learned queries decoded."""

    def __init__(self, width: int, landmarks: int) -> None:
        super().__init__()
        shape = {"d_model": width, "nhead": 8, "dim_feedforward": 512, "dropout": 0.0}
        options = {"batch_first": True, "norm_first": True}
        self.encoder = nn.Sequential(
            *(nn.TransformerEncoderLayer(**shape, **options) for _ in range(2))  # type: ignore[arg-type]
        )
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(**shape, **options)  # type: ignore[arg-type]
            for _ in range(3)
        )
        self.queries = nn.Parameter(torch.zeros(landmarks, width))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.queries, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.encoder(x.flatten(2).transpose(1, 2))
        tokens = self.queries.expand(x.shape[0], -1, -1)
        for layer in self.decoder:
            tokens = layer(tokens, memory)
        return self.norm(tokens)  # type: ignore[no-any-return]


class LandmarkStage(nn.Module):
    """Features and final heatmaps of stage 1 to landmarks B×N×2 in [0, 1] of the crop, unclamped.

    The grid is 16×16 for 256-pixel inputs; smaller inputs (training starts there) are resized to
    it, so that the head's weights serve every resolution.
    """

    def __init__(self, shape: Architecture, boundaries: int, landmarks: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(boundaries, shape.width, 1)
        self.deep = GuidedBranch(shape, shape.width, shape.deep_widths)
        self.shallow = GuidedBranch(shape, shape.width, shape.shallow_widths)
        self.boundary = GuidedBranch(shape, boundaries, shape.boundary_widths)
        self.sa_feature = SAFeature(shape.feature_width, shape.attention_pool)
        self.head = (
            DeLighTHead(shape.feature_width, landmarks, shape.delight_blocks)
            if shape.delight_blocks
            else TransformerHead(shape.feature_width, landmarks)
        )
        self.coordinates = nn.Linear(
            TOKEN_WIDTH if shape.delight_blocks else shape.feature_width, 2
        )
        nn.init.normal_(self.coordinates.weight, std=0.01)
        nn.init.constant_(self.coordinates.bias, 0.5)

    def forward(self, shallow: Tensor, deep: Tensor, heatmaps: Tensor) -> Tensor:
        return self.landmarks(self.branches(shallow, deep, heatmaps))

    def branches(self, shallow: Tensor, deep: Tensor, heatmaps: Tensor) -> list[Tensor]:
        """The convolutions: three branches of features, B×F×S/16×S/16 each."""
        gate = 2 * torch.sigmoid(self.gate(heatmaps))
        return [self.deep(deep * gate), self.shallow(shallow * gate), self.boundary(heatmaps)]

    def landmarks(self, branches: list[Tensor]) -> Tensor:
        """What places the points, which half precision would round: B×N×2 of the branches."""
        if branches[0].shape[-1] != GRID:
            branches = [
                F.interpolate(b, size=(GRID, GRID), mode="bilinear", align_corners=False)
                for b in branches
            ]
        return self.coordinates(self.head(self.sa_feature(branches)))  # type: ignore[no-any-return]
