"""PTv3 for exporters: the same function of the same weights, geometry comes in as tables.

Shape letters: V_s voxels at stage s, C channels, P patches, L slots of a patch, R curves, H heads.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.export.onnx_geometry import CHILDREN, Plan, input_names
from train.networks.ptv3.attention import SerializedAttention, scaled_dot_product
from train.networks.ptv3.backbone import Stage
from train.networks.ptv3.block import MLP, Block
from train.networks.ptv3.convolution import ConvolutionWeights
from train.networks.ptv3.pooling import Pooling, Unpooling
from train.networks.ptv3.segmentor import Segmentor

STEM_CUBE, CUBE = 5**3, 3**3


def plan_of(network: Segmentor) -> Plan:
    """Return which tables a network takes."""
    config = network.config
    return Plan(
        num_stages=config.num_stages,
        orders=tuple(config.orders),
        curves=tuple(config.num_curves(stage) for stage in range(config.num_stages)),
        patch_size=config.patch_size,
        depth_rule=config.depth_rule,
    )


class ExportedPTv3(nn.Module):
    """A PTv3 of gathers, products and sums, in evaluation mode; its weights are copies.

    Parameters
    ----------
    network
        Is left as it is. Batch normalization of the stem and of the way up is folded into the
        products before it.
    product_dtype
        Of the weights and products of blocks, pooling, the way up and the head. The stem, which
        reads meters, all norms and the sums of branches stay in float32.
    fused_attention
        Leave attention to `torch.nn.functional.scaled_dot_product_attention`; otherwise two
        products and a softmax, which every ONNX runtime knows and TensorRT fuses itself.
    """

    def __init__(
        self,
        network: Segmentor,
        *,
        product_dtype: torch.dtype = torch.float32,
        fused_attention: bool = False,
    ) -> None:
        super().__init__()
        self.plan = plan_of(network)
        self.in_channels = network.in_channels
        options = (product_dtype, fused_attention, network.config.cpe_input)
        stem = network.backbone.embedding.stem
        self.stem = _Convolution(stem.conv, torch.float32, stem.norm)
        enc, dec = network.backbone.enc, network.backbone.dec
        self.down = nn.ModuleList()
        self.enc = nn.ModuleList()
        for index in range(self.plan.num_stages):
            encoder = enc[f"enc{index}"]
            assert isinstance(encoder, Stage)
            if encoder.down is not None:
                self.down.append(_Pool(encoder.down, product_dtype))
            self.enc.append(_Blocks(encoder, *options))
        self.up = nn.ModuleList()
        self.dec = nn.ModuleList()
        for index in range(self.plan.num_stages - 1):
            decoder = dec[f"dec{index}"]
            assert isinstance(decoder, Stage)
            self.up.append(_Unpool(decoder.up, product_dtype))
            self.dec.append(_Blocks(decoder, *options))
        self.head = _Linear(network.seg_head.weight, network.seg_head.bias, product_dtype)
        self.eval()

    def forward(self, feat: Tensor, tables: Sequence[Tensor]) -> Tensor:
        """Return logits [V_0, classes] float32.

        Parameters
        ----------
        feat
            [V_0, in_channels] float32.
        tables
            int32, in the order of `input_names`, as `onnx_geometry.build_tables` makes them.
        """
        table = dict(zip(input_names(self.plan)[1:], tables, strict=True))
        feat = F.gelu(self.stem(feat, table["stem_neighbors"]))
        skips = []
        for stage, blocks in enumerate(self.enc):
            if stage:
                feat = self.down[stage - 1](feat, table[f"children_{stage}"])
            feat = blocks(feat, feat, *_of_stage(table, stage))
            skips.append(feat)
        for stage in reversed(range(self.plan.num_stages - 1)):
            feat, skipped = self.up[stage](feat, skips[stage], table[f"parent_{stage + 1}"])
            feat = self.dec[stage](feat, skipped, *_of_stage(table, stage))
        logits: Tensor = self.head(feat).float()
        return logits

    def example(self) -> tuple[Tensor, list[Tensor]]:
        """Return inputs of the right types for an exporter; they are no cloud."""
        sizes = [2 + 7 * (self.plan.num_stages - stage) for stage in range(self.plan.num_stages)]
        shapes: list[tuple[int, ...]] = [(sizes[0], STEM_CUBE)]
        for stage, size in enumerate(sizes):
            if stage:
                shapes += [(size, CHILDREN), (sizes[stage - 1],)]
            curves = self.plan.curves[stage]
            shapes += [(size, CUBE), (curves, 3, 5), (curves, size)]
        tables = [torch.zeros(shape, dtype=torch.int32) for shape in shapes]
        return torch.zeros(sizes[0], self.in_channels), tables

    def dynamic_axes(self) -> tuple[dict[int, str], list[dict[int, str]]]:
        """Return the names of the axes that differ from cloud to cloud, in `example`'s layout."""
        axes: list[dict[int, str]] = [{0: "voxels_0"}]
        for stage in range(self.plan.num_stages):
            if stage:
                axes += [{0: f"voxels_{stage}"}, {0: f"voxels_{stage - 1}"}]
            axes += [
                {0: f"voxels_{stage}"},
                {1: f"patches_{stage}", 2: f"slots_{stage}"},
                {1: f"voxels_{stage}"},
            ]
        return {0: "voxels_0"}, axes


def _of_stage(table: dict[str, Tensor], stage: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        table[f"neighbors_{stage}"],
        table[f"patches_{stage}"],
        table[f"patch_place_{stage}"],
    )


def _rows(feat: Tensor, index: Tensor) -> Tensor:
    """Return [..., C] rows of feat [V, C]: a gather, for indices of any shape and 32 bits."""
    return F.embedding(index, feat)


def _as(feat: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast where there is something to cast, so that no exporter writes a cast for nothing."""
    return feat if feat.dtype == dtype else feat.to(dtype)


class _Linear(nn.Module):
    """A product with a constant matrix and the sum with a constant row."""

    matrix: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        norm: nn.BatchNorm1d | None = None,
    ) -> None:
        """Take weight [O, I] and bias [O]; the norm after them is folded in."""
        super().__init__()
        matrix = weight.detach().t().double()
        row = None if bias is None else bias.detach().double()
        if norm is not None:
            scale, shift = _affine(norm)
            matrix = matrix * scale
            row = shift if row is None else row * scale + shift
        self.register_buffer("matrix", matrix.to(dtype).contiguous())
        self.register_buffer("bias", None if row is None else row.to(dtype))

    def forward(self, feat: Tensor) -> Tensor:
        out = _as(feat, self.matrix.dtype) @ self.matrix
        return out if self.bias is None else out + self.bias


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return what a batch norm multiplies with and adds in evaluation, float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("ExportedPTv3: a batch norm has no running statistics; train it with them")
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.detach().double() - norm.running_mean.double() * scale


class _Convolution(nn.Module):
    """Submanifold convolution: the rows of all neighbors side by side, one product."""

    def __init__(
        self,
        convolution: ConvolutionWeights,
        dtype: torch.dtype,
        norm: nn.BatchNorm1d | None = None,
    ) -> None:
        super().__init__()
        weight = convolution.weight.detach().flatten(1)  # [O, K I], the taps' z fastest, then I
        self.linear = _Linear(weight, convolution.bias, dtype, norm)

    def forward(self, feat: Tensor, neighbors: Tensor) -> Tensor:
        """Return [V, O] of feat [V, I] and neighbors [V, K]; row V stands for no neighbor."""
        feat = _as(feat, self.linear.matrix.dtype)
        padded = torch.cat([feat, feat.new_zeros(1, feat.shape[1])])
        out: Tensor = self.linear(_rows(padded, neighbors).flatten(1))
        return out


class _Pool(nn.Module):
    """Linear map, largest of the children, batch norm, GELU."""

    scale: Tensor
    shift: Tensor

    def __init__(self, pooling: Pooling, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear = _Linear(pooling.proj.weight, pooling.proj.bias, dtype)
        norm = pooling.norm[0]
        assert isinstance(norm, nn.BatchNorm1d)
        scale, shift = _affine(norm)
        self.register_buffer("scale", scale.float())
        self.register_buffer("shift", shift.float())

    def forward(self, feat: Tensor, children: Tensor) -> Tensor:
        """Return [M, C] of feat [V, I] and children [M, 8]."""
        largest = _as(_rows(self.linear(feat), children).amax(1), torch.float32)
        return F.gelu(largest * self.scale + self.shift)


def _projection(layers: nn.Sequential, dtype: torch.dtype) -> _Linear:
    """Return a linear map with the batch norm after it; the GELU behind them is the caller's."""
    linear, norm = layers[0], layers[1]
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    return _Linear(linear.weight, linear.bias, dtype, norm)


class _Unpool(nn.Module):
    """The coarse features and the encoder's, projected; the former at their finer voxels."""

    def __init__(self, unpooling: Unpooling, dtype: torch.dtype) -> None:
        super().__init__()
        self.proj = _projection(unpooling.proj, dtype)
        self.proj_skip = _projection(unpooling.proj_skip, dtype)

    def forward(self, coarse: Tensor, skip: Tensor, parent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum [V, C] and the projected skip features alone, float32."""
        up = _as(F.gelu(self.proj(coarse)), torch.float32)
        skipped = _as(F.gelu(self.proj_skip(skip)), torch.float32)
        return skipped + _rows(up, parent), skipped


class _Attention(nn.Module):
    """Softmax attention inside patches that come as rows."""

    def __init__(self, attention: SerializedAttention, dtype: torch.dtype, fused: bool) -> None:
        super().__init__()
        self.num_heads, self.fused = attention.num_heads, fused
        self.qkv = _Linear(attention.qkv.weight, attention.qkv.bias, dtype)
        self.proj = _Linear(attention.proj.weight, attention.proj.bias, dtype)

    def forward(self, feat: Tensor, patches: Tensor, place: Tensor) -> Tensor:
        """Return [V, C] of feat [V, C], patches [P, L] and the place of each row [V]."""
        slots = _rows(self.qkv(feat), patches)  # [P, L, 3 C]
        slots = slots.view(*slots.shape[:2], 3, self.num_heads, -1)
        query, key, value = slots.permute(2, 0, 3, 1, 4).unbind(0)  # each [P, H, L, D]
        attend = F.scaled_dot_product_attention if self.fused else scaled_dot_product
        out = attend(query, key, value).transpose(1, 2).flatten(2).flatten(0, 1)
        projected: Tensor = self.proj(_rows(out, place))
        return projected


class _Block(nn.Module):
    """One block; see `train.networks.ptv3.block.Block`."""

    def __init__(self, block: Block, dtype: torch.dtype, fused: bool, cpe_input: str) -> None:
        super().__init__()
        self.cpe_input = cpe_input
        convolution, linear, norm = block.cpe
        assert isinstance(convolution, ConvolutionWeights)
        assert isinstance(linear, nn.Linear)
        self.cpe_convolution = _Convolution(convolution, dtype)
        self.cpe_linear = _Linear(linear.weight, linear.bias, dtype)
        # Copies in float32, whatever the network's type and the products'.
        self.norm0, self.norm1, self.norm2 = (
            copy.deepcopy(each).float() for each in (norm, block.norm1[0], block.norm2[0])
        )
        self.attention = _Attention(block.attn, dtype, fused)
        mlp = block.mlp[0]
        assert isinstance(mlp, MLP)
        self.fc1 = _Linear(mlp.fc1.weight, mlp.fc1.bias, dtype)
        self.fc2 = _Linear(mlp.fc2.weight, mlp.fc2.bias, dtype)

    def forward(
        self, feat: Tensor, cpe_feat: Tensor, neighbors: Tensor, patches: Tensor, place: Tensor
    ) -> tuple[Tensor, Tensor]:
        position = self.cpe_linear(self.cpe_convolution(cpe_feat, neighbors))
        feat = feat + self.norm0(_as(position, torch.float32))
        attended = self.attention(self.norm1(feat), patches, place)
        feat = feat + _as(attended, torch.float32)
        branch = _as(self.fc2(F.gelu(self.fc1(self.norm2(feat)))), torch.float32)
        feat = feat + branch
        return feat, (feat if self.cpe_input == "main" else branch)


class _Blocks(nn.Module):
    """The blocks of a stage; block i attends along curve i modulo the curves there are."""

    def __init__(self, stage: Stage, dtype: torch.dtype, fused: bool, cpe_input: str) -> None:
        super().__init__()
        for number in range(stage.num_blocks):
            block = stage.get_submodule(f"block{number}")
            assert isinstance(block, Block)
            self.add_module(f"block{number}", _Block(block, dtype, fused, cpe_input))

    def forward(
        self, feat: Tensor, cpe_feat: Tensor, neighbors: Tensor, patches: Tensor, place: Tensor
    ) -> Tensor:
        """Return [V, C]; patches [R, P, L] and place [R, V] of all curves of the stage."""
        for number, block in enumerate(self.children()):
            curve = number % patches.shape[0]
            feat, cpe_feat = block(feat, cpe_feat, neighbors, patches[curve], place[curve])
        return feat
