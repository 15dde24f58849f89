"""Makes each engine's own form of MiniLM, once, under build/bench/peers. Run by profiling/bench.py when one is missing.

    python prepare.py MODEL_FOLDER OUTPUT_FOLDER

ONNX comes from the TorchScript exporter (the newer one writes a graph that ONNX Runtime's optimizer does not fuse); pooling and
normalisation are part of the graph, so that no engine pays for them in numpy.
"""
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/reference"))
import folders  # noqa: E402

CALIBRATION_TEXTS = 300
INPUTS = ["input_ids", "attention_mask"]


class Embedder(torch.nn.Module):
    """BertModel, mean over the unmasked tokens, L2."""

    def __init__(self, folder, dtype=torch.float32):
        super().__init__()
        from transformers import BertModel
        self.bert = BertModel.from_pretrained(folder, dtype=dtype, add_pooling_layer=False, attn_implementation="eager").eval()

    def forward(self, input_ids, attention_mask):
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


def export_plain(model_folder, path):
    ids = torch.randint(1000, 2000, (2, 16))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS}
    with torch.inference_mode():
        torch.onnx.export(Embedder(model_folder), (ids, mask), str(path), input_names=INPUTS, output_names=["embedding"],
                          dynamic_axes={**axes, "embedding": {0: "batch"}}, opset_version=17, dynamo=False)


def fuse(plain, path):
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions
    options = FusionOptions("bert")
    made = optimizer.optimize_model(str(plain), model_type="bert", num_heads=12, hidden_size=384, optimization_options=options, opt_level=0)
    made.save_model_to_file(str(path))
    counts = made.get_fused_operator_statistics()
    if counts.get("Attention", 0) != 6:
        sys.exit(f"ONNX Runtime's optimizer fused {counts.get('Attention', 0)} attentions, expected 6: the comparison would be unfair")
    return {name: count for name, count in counts.items() if count}


def quantize_onnx(fused, path):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(str(fused), str(path), per_channel=True, weight_type=QuantType.QInt8,
                     extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})


def convert_openvino(plain, path):
    import openvino
    openvino.save_model(openvino.convert_model(str(plain)), str(path), compress_to_fp16=False)


def quantize_openvino(model_folder, source, path):
    import nncf
    import numpy
    import openvino
    tokenizer = folders.tokenizer(model_folder)
    with open(folders.FIXTURES / "embed/texts.jsonl", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines][:CALIBRATION_TEXTS]
    samples = [numpy.array([tokenizer.encode(text).ids], numpy.int64) for text in texts]
    data = nncf.Dataset([{"input_ids": ids, "attention_mask": numpy.ones_like(ids)} for ids in samples])
    made = nncf.quantize(openvino.Core().read_model(str(source)), data, model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION_TEXTS)
    openvino.save_model(made, str(path), compress_to_fp16=False)


def convert_ctranslate2(model_folder, path, quantization):
    import ctranslate2
    ctranslate2.converters.TransformersConverter(str(model_folder)).convert(str(path), quantization=quantization, force=True)


def main(model_folder, output):
    output.mkdir(parents=True, exist_ok=True)
    steps = {
        "plain.onnx": lambda path: export_plain(model_folder, path),
        "fused.onnx": lambda path: print("fused:", fuse(output / "plain.onnx", path)),
        "int8.onnx": lambda path: quantize_onnx(output / "fused.onnx", path),
        "openvino.xml": lambda path: convert_openvino(output / "plain.onnx", path),
        "openvino-int8.xml": lambda path: quantize_openvino(model_folder, output / "openvino.xml", path),
        "ctranslate2-fp32": lambda path: convert_ctranslate2(model_folder, path, "float32"),
        "ctranslate2-int8": lambda path: convert_ctranslate2(model_folder, path, "int8"),
    }
    for name, step in steps.items():
        if not (output / name).exists():
            print(f"preparing {name}", flush=True)
            step(output / name)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
