#!/bin/sh
# onnxruntime 1.32.0: Resize of uint8 pixels, linear, cuts fractions off instead of rounding.
# Seen: a picture of noise enlarged from 40 to 64 pixels: on average half a level of 255 darker than the
# float32 result, up to 1 (no pixel is brighter).
# Expected: rounding to the nearest level, with no bias: the average of 100 and 101 is as often 101. (With
# antialias=1 it rounds.)
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
v/bin/python - <<'END'
import numpy as np
import onnx.helper as make
import onnxruntime

pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 40, 40), dtype=np.uint8)


def resized(x):
    kind = make.np_dtype_to_tensor_dtype(x.dtype)
    node = make.make_node("Resize", ["x", "", "", "size"], ["y"], mode="linear")
    size = make.make_tensor("size", 7, [4], [1, 3, 64, 64])
    x_info, y_info = make.make_tensor_value_info("x", kind, x.shape), make.make_tensor_value_info("y", kind, None)
    graph = make.make_graph([node], "resize", [x_info], [y_info], [size])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].astype(float)


off = resized(pixels) - resized(pixels.astype(np.float32))
print(f"uint8 - float32, levels: mean {off.mean():.3f}, from {off.min():.3f} to {off.max():.3f}")
assert -0.6 < off.mean() < -0.4 and off.max() <= 0.001
END
