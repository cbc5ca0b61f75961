"""Rows about exported graphs."""

import numpy as np
import torch.nn.functional as F

from examples.differences.photographs import photograph, pixels
from examples.differences.rows import Row


def onnx_resize(picture: np.ndarray, side: int, mode: str) -> np.ndarray:
    """Resize by ONNX's operator, antialiased, with PyTorch's coefficient."""
    import onnx
    import onnxruntime

    kind = onnx.helper.np_dtype_to_tensor_dtype(picture.dtype)
    make = onnx.helper
    node = make.make_node(
        "Resize", ["x", "", "", "size"], ["y"], mode=mode, antialias=1, cubic_coeff_a=-0.5, exclude_outside=1
    )
    size = make.make_tensor("size", onnx.TensorProto.INT64, [4], [*picture.shape[:2], side, side])
    ends = [make.make_tensor_value_info(name, kind, None) for name in "xy"]
    graph = make.make_graph([node], "resize", ends[:1], ends[1:], [size])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": picture})[0])


def bicubic() -> Row:
    """Shrink by the antialiased bicubic of PyTorch and of ONNX Runtime, against float64."""
    picture = pixels(photograph())
    exact = F.interpolate(picture.double(), (224, 224), mode="bicubic", antialias=True).numpy()

    def by_onnx() -> float:
        return float(np.abs(onnx_resize(picture.numpy(), 224, "cubic") - exact).max())

    def by_torch() -> float:
        found = F.interpolate(picture, (224, 224), mode="bicubic", antialias=True)
        return float(np.abs(found.numpy() - exact).max())

    return Row(
        "Antialiased bicubic of 512 × 512 pixels in [0, 1] to 224 × 224: largest error against float64, × 10⁻⁶",
        {"torch": lambda: 1e6 * by_torch(), "onnxruntime": lambda: 1e6 * by_onnx()},
        "weights and sums are rounded in another order",
        "exported graphs take pixels that are resized already: [export.md](export.md)",
        tolerance=5,
    )


ROWS = (bicubic,)
