"""One peer as a child process, under the protocol of `recto-bench serve`: a command a line on standard input, one JSON object a
line as the answer. profiling/bench.py drives recto and the peers alike through it.

    python engine.py NAME --model FOLDER --prepared FOLDER --threads N      NAME: a key of ENGINES
    python engine.py NAME ... --cold TEXT                                   embeds TEXT, prints the vector, ends: the cold start

    ids FILE          token ids: int32 count, the lengths, then all ids
    texts FILE        raw texts, JSON Lines with the field "text"
    bulk R [B [L]]    all loaded ids, R times, in batches of B with L batches in flight: {"ms_per_text": median}
    one R             the first of the ids alone, R times:                                {"ms_per_text": median}
    mixed R [ORDER [L]]  the raw texts, tokenisation included, in batches of 32; ORDER is sorted or arrival (padded as they come)
    check FILE.npy    1 - cosine of the loaded texts against those vectors:              {"worst": .., "mean": ..}
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import sys
import time

import numpy

MIXED_BATCH = 32


def padded(batch):
    ids = numpy.zeros((len(batch), max(map(len, batch))), numpy.int64)
    mask = numpy.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, :len(tokens)] = tokens
        mask[row, :len(tokens)] = 1
    return ids, mask


class OnnxRuntime:
    def __init__(self, options, file, threads, lanes):
        import onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads // lanes, 1
        settings.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(options.prepared / file), settings, providers=["CPUExecutionProvider"])

    def embed(self, batch):
        ids, mask = padded(batch)
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


class OpenVino:
    def __init__(self, options, file, precision, threads, lanes):
        import openvino
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": lanes, "INFERENCE_PRECISION_HINT": precision,
                    "PERFORMANCE_HINT": "LATENCY" if lanes == 1 else "THROUGHPUT"}
        self.model = openvino.Core().compile_model(str(options.prepared / file), "CPU", settings)
        effective = self.model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if effective != precision:  # it accepts a precision that the CPU lacks and computes another
            raise RuntimeError(f"OpenVINO was asked for {precision} and computes in {effective} on this CPU")
        self.requests = [self.model.create_infer_request() for _ in range(lanes)]

    def embed(self, batch):
        request = self.requests.pop()
        ids, mask = padded(batch)
        vectors = request.infer({"input_ids": ids, "attention_mask": mask})[0].copy()
        self.requests.append(request)
        return vectors


class CTranslate2:
    def __init__(self, options, file, precision, threads, lanes):
        import ctranslate2
        if precision not in ctranslate2.get_supported_compute_types("cpu"):
            raise RuntimeError(f"CTranslate2 has no {precision} on this CPU")
        self.encoder = ctranslate2.Encoder(str(options.prepared / file), device="cpu", compute_type=precision, inter_threads=lanes,
                                           intra_threads=threads // lanes)

    def embed(self, batch):
        states = numpy.asarray(self.encoder.forward_batch([list(map(int, tokens)) for tokens in batch]).last_hidden_state)
        vectors = numpy.stack([states[row, :len(tokens)].mean(axis=0) for row, tokens in enumerate(batch)])
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


class Torch:
    def __init__(self, options, precision, threads, lanes):
        import torch
        from transformers import BertModel
        if lanes != 1:
            raise RuntimeError("torch is measured with one batch in flight")
        torch.set_num_threads(threads)
        self.torch = torch
        self.bert = BertModel.from_pretrained(options.model, dtype=getattr(torch, precision), add_pooling_layer=False,
                                              attn_implementation="sdpa").eval()

    def embed(self, batch):
        with self.torch.inference_mode():
            ids, mask = map(self.torch.from_numpy, padded(batch))
            states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(states.dtype)
            mean = (states * weights).sum(1) / weights.sum(1)
            return self.torch.nn.functional.normalize(mean, dim=1).float().numpy()


ENGINES = {
    "onnxruntime": lambda options, *t: OnnxRuntime(options, "fused.onnx", *t),
    "onnxruntime-plain": lambda options, *t: OnnxRuntime(options, "plain.onnx", *t),
    "onnxruntime-int8": lambda options, *t: OnnxRuntime(options, "int8.onnx", *t),
    "openvino": lambda options, *t: OpenVino(options, "openvino.xml", "f32", *t),
    "openvino-bf16": lambda options, *t: OpenVino(options, "openvino.xml", "bf16", *t),
    "openvino-int8": lambda options, *t: OpenVino(options, "openvino-int8.xml", "f32", *t),
    "openvino-int8-bf16": lambda options, *t: OpenVino(options, "openvino-int8.xml", "bf16", *t),
    "ctranslate2": lambda options, *t: CTranslate2(options, "ctranslate2-fp32", "float32", *t),
    "ctranslate2-int8": lambda options, *t: CTranslate2(options, "ctranslate2-int8", "int8_float32", *t),
    "torch": lambda options, *t: Torch(options, "float32", *t),
    "torch-bf16": lambda options, *t: Torch(options, "bfloat16", *t),
}


def tokenizer_of(options):
    """MiniLM's tokenizer.json asks for truncation and padding at 128 tokens; as in recto, both are ignored."""
    from tokenizers import Tokenizer
    made = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    made.no_truncation()
    made.no_padding()
    return made


class Server:
    """The verbs. Engines with a given number of batches in flight are made when first asked for."""

    def __init__(self, options):
        self.options, self.made, self.ids_loaded, self.texts_loaded, self.tokenizer = options, {}, [], [], None
        self.engine(1)

    def engine(self, lanes):
        if lanes not in self.made:
            self.made[lanes] = ENGINES[self.options.name](self.options, self.options.threads, lanes)
        return self.made[lanes]

    def embed_all(self, batches, lanes):
        engine = self.engine(lanes)
        if lanes == 1:
            return [engine.embed(batch) for batch in batches]
        with concurrent.futures.ThreadPoolExecutor(lanes) as workers:
            return list(workers.map(engine.embed, batches))

    def ids(self, file):
        numbers = numpy.fromfile(file, numpy.int32)
        ends = numpy.cumsum(numbers[1:1 + numbers[0]])
        self.ids_loaded = [part.tolist() for part in numpy.split(numbers[1 + numbers[0]:], ends)[:-1]]
        return {"texts": len(self.ids_loaded)}

    def texts(self, file):
        with open(file, encoding="utf-8") as lines:
            self.texts_loaded = [json.loads(line)["text"] for line in lines]
        return {"texts": len(self.texts_loaded)}

    @staticmethod
    def timed(repeats, work, texts):
        times = []
        for _ in range(int(repeats)):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return {"ms_per_text": statistics.median(times) * 1e3 / texts}

    def bulk(self, repeats, batch="8", lanes="1"):
        step = int(batch)
        batches = [self.ids_loaded[i:i + step] for i in range(0, len(self.ids_loaded), step)]
        return self.timed(repeats, lambda: self.embed_all(batches, int(lanes)), len(self.ids_loaded))

    def one(self, repeats):
        return self.timed(repeats, lambda: self.embed_all([[self.ids_loaded[0]]], 1), 1)

    def embed_texts(self, order, lanes):
        self.tokenizer = self.tokenizer or tokenizer_of(self.options)
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(self.texts_loaded)]
        places = list(range(len(tokens)))
        if order == "sorted":
            places.sort(key=lambda place: len(tokens[place]))
        groups = [places[i:i + MIXED_BATCH] for i in range(0, len(places), MIXED_BATCH)]
        vectors = numpy.concatenate(self.embed_all([[tokens[place] for place in group] for group in groups], lanes))
        back = numpy.empty_like(vectors)
        back[places] = vectors
        return back

    def mixed(self, repeats, order="sorted", lanes="1"):
        return self.timed(repeats, lambda: self.embed_texts(order, int(lanes)), len(self.texts_loaded))

    def check(self, file):
        found, expected = self.embed_texts("sorted", 1).astype(float), numpy.load(file).astype(float)
        expected = expected[:len(found)]
        distance = 1 - (found * expected).sum(1) / numpy.linalg.norm(found, axis=1) / numpy.linalg.norm(expected, axis=1)
        return {"worst": float(distance.max()), "mean": float(distance.mean())}

    def answer(self, line):
        verb, *arguments = line.split()
        if verb not in ("ids", "texts", "bulk", "one", "mixed", "check"):
            return {"error": f"unknown command '{verb}'"}
        return getattr(self, verb)(*arguments)


def serve(options, out):
    server = Server(options)
    print(json.dumps({"ready": options.name}), file=out, flush=True)
    for line in sys.stdin:
        try:
            answer = server.answer(line)
        except Exception as error:  # the benchmark goes on without this engine and says why
            answer = {"error": str(error)}
        print(json.dumps(answer), file=out, flush=True)


def cold(options, out):
    engine = ENGINES[options.name](options, options.threads, 1)
    vector = engine.embed([tokenizer_of(options).encode(options.cold).ids])[0]
    print(json.dumps(vector.tolist()), file=out, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ENGINES)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--prepared", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cold", metavar="TEXT")
    options = parser.parse_args()
    # Answers alone go to standard output: whatever an engine prints is sent to standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        (cold if options.cold else serve)(options, out)
    except RuntimeError as error:
        print(json.dumps({"error": str(error)}), file=out, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
