"""Trains with somebody else's library, in the environment of tests/bench/peers.txt: no import from
this project. `peers.py` starts it and says what to do.

    python peer_worker.py LIBRARY JOB.json steps     N steps on each line "N" of standard input
    python peer_worker.py LIBRARY JOB.json epochs    the whole training, once

Answers are lines of JSON: seconds of this process's CPU. Every library sees its batches through
`Gate`, which counts them, and otherwise works as its own documentation shows.
"""

# mypy: ignore-errors
# (nothing that it imports is installed where types are checked)

import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

# torchvision, which torchdistill imports, is built for another torch: its two operators that Python
# asks for by name are declared here, and never called.
declared = torch.library.Library("torchvision", "DEF")
declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from transformers import (  # noqa: E402
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

torch.set_num_threads(1)


class Over(Exception):
    """The other side has seen enough."""


class Gate:
    """Counts batches, and waits for the next line whenever it has let through as many as asked."""

    def __init__(self, waits):
        self.waits, self.left, self.began = waits, 0, time.process_time()

    def __call__(self):
        if not self.waits:
            return
        if self.left == 0:
            self.answer()
            line = sys.stdin.readline().strip()
            if not line:
                raise Over
            self.left, self.began = int(line), time.process_time()
        self.left -= 1

    def answer(self):
        print(json.dumps({"seconds": time.process_time() - self.began}), flush=True)


class Rows(torch.utils.data.Dataset):
    def __init__(self, job):
        if "tokens" in job:
            self.ids = job["tokens"]
        else:
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_file=str(Path(job["teacher"]) / "tokenizer.json")
            )
            self.ids = tokenizer(job["texts"], truncation=True, max_length=64)["input_ids"]
        self.labels = job["labels"]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, place):
        return {"input_ids": self.ids[place], "labels": self.labels[place]}


def collate(rows):
    """Padded to the longest of the batch, as every library's own collator does."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for place, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[place, :length] = torch.tensor(row["input_ids"])
        mask[place, :length] = 1
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class Order(torch.utils.data.Sampler):
    """The very batches that the engine sees, over and over."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def loader(job, gate, waits):
    rows = Rows(job)

    def gated(some):
        gate()
        return collate(some)

    if waits:
        return DataLoader(rows, batch_sampler=Order(job["order"]), collate_fn=gated)
    return DataLoader(rows, batch_size=job["batch_size"], shuffle=True, collate_fn=gated)


def models(job):
    teacher = AutoModelForSequenceClassification.from_pretrained(
        job["teacher"], dtype=torch.float32
    ).eval()
    student = AutoModelForSequenceClassification.from_pretrained(
        job["student"], dtype=torch.float32
    )
    return teacher, student.train()


def trainer(job, gate, waits):
    """The recipe of many blog posts: Trainer with its own compute_loss."""
    from transformers import Trainer, TrainingArguments

    teacher, student = models(job)
    batches = loader(job, gate, waits)

    class DistillationTrainer(Trainer):
        def get_train_dataloader(self):
            return batches

        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            outputs = model(**inputs)
            with torch.no_grad():
                taught = teacher(**inputs)
            warmth = job["temperature"]
            soft = nn.KLDivLoss(reduction="batchmean")(
                F.log_softmax(outputs.logits / warmth, dim=-1),
                F.softmax(taught.logits / warmth, dim=-1),
            ) * (warmth**2)
            loss = job["alpha"] * outputs.loss + (1.0 - job["alpha"]) * soft
            return (loss, outputs) if return_outputs else loss

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            learning_rate=job["rate"],
            num_train_epochs=10_000 if waits else job["epochs"],
            per_device_train_batch_size=job["batch_size"],
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            logging_steps=10_000,
        )
        DistillationTrainer(
            model=student, args=arguments, train_dataset=batches.dataset, data_collator=collate
        ).train()


def bare_optimizer(student, job):
    return torch.optim.AdamW(student.parameters(), lr=job["rate"])


def textbrewer(job, gate, waits, caching=False):
    """TextBrewer's BasicDistiller; `caching` keeps batches and teacher outputs of one epoch."""
    from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig

    teacher, student = models(job)

    def adaptor(batch, outputs):
        return {"logits": outputs.logits, "losses": outputs.loss}

    distiller = BasicDistiller(
        train_config=TrainingConfig(
            ckpt_frequency=1, log_dir=None, output_dir=tempfile.mkdtemp(), device="cpu"
        ),
        distill_config=DistillationConfig(
            temperature=job["temperature"],
            kd_loss_weight=1.0 - job["alpha"],
            hard_label_weight=job["alpha"],
            is_caching_logits=caching,
        ),
        model_T=teacher,
        model_S=student,
        adaptor_T=adaptor,
        adaptor_S=adaptor,
    )
    distiller.save_and_callback = lambda *_, **__: None
    distiller.train(
        bare_optimizer(student, job),
        loader(job, gate, waits),
        num_epochs=10_000 if waits else job["epochs"],
        max_grad_norm=1.0,
        callback=None,
    )


def torchdistill(job, gate, waits):
    """torchdistill's DistillationBox with its KDLoss, in the loop that its examples write."""
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.core.interfaces.registry import register_forward_proc_func

    teacher, student = models(job)

    @register_forward_proc_func
    def forward_batch(model, sample_batch, targets=None, supp_dict=None, **kwargs):
        return model(**sample_batch).logits

    batches = loader(job, gate, waits)
    config = {
        "num_epochs": job["epochs"],
        "train_data_loader": {},
        "teacher": {"forward_proc": "forward_batch", "requires_grad": False},
        "student": {"forward_proc": "forward_batch", "requires_grad": True},
        "optimizer": {
            "key": "AdamW", "kwargs": {"lr": job["rate"]}, "max_grad_norm": 1.0,
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {
                        "criterion": {
                            "key": "KDLoss",
                            "kwargs": {
                                "student_module_path": ".",
                                "student_module_io": "output",
                                "teacher_module_path": ".",
                                "teacher_module_io": "output",
                                "temperature": job["temperature"],
                                "alpha": job["alpha"],
                                "reduction": "batchmean",
                            },
                        },
                        "weight": 1.0,
                    }
                }
            },
        },
    }  # fmt: skip
    box = get_distillation_box(teacher, student, {}, config, torch.device("cpu"), None, False, 1)
    for epoch in range(10_000 if waits else job["epochs"]):
        box.pre_epoch_process(epoch=epoch)
        for batch in batches:
            labels = batch.pop("labels")
            box.pre_forward_process()
            loss = box.forward_process(batch, labels, None)
            box.post_forward_process(loss)
        box.post_epoch_process()


def trl(job, gate, waits):
    """TRL's GKDTrainer on given texts (lmbda 0), which holds both models' logits whole."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    teacher, student = (
        AutoModelForCausalLM.from_pretrained(job[name], dtype=torch.float32)
        for name in ("teacher", "student")
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(Path(job["teacher"]) / "tokenizer.json"), pad_token="[PAD]"
    )
    windows = torch.tensor(job["tokens"])

    class Batches(torch.utils.data.Dataset):
        def __len__(self):
            return len(job["order"])

        def __getitem__(self, place):
            gate()
            ids = windows[job["order"][place]]
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}

    class Trainer(GKDTrainer):
        def get_train_dataloader(self):
            return DataLoader(Batches(), batch_size=None)

    with tempfile.TemporaryDirectory() as folder:
        arguments = GKDConfig(
            output_dir=folder,
            learning_rate=job["rate"],
            num_train_epochs=10_000,
            per_device_train_batch_size=job["batch_size"],
            lmbda=0.0,
            beta=0.0,
            temperature=1.0,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            logging_steps=10_000,
        )
        Trainer(
            model=student,
            teacher_model=teacher,
            args=arguments,
            train_dataset=Dataset.from_dict({"messages": [[]] * len(job["order"])}),
            processing_class=tokenizer,
            data_collator=lambda rows: rows,
        ).train()


#: Loaded before the clock starts, beside the models' own code.
LOADED = {
    "trl": "trl.experimental.gkd",
    "trainer": "transformers.trainer",
    "textbrewer": "textbrewer",
    "textbrewer_caching": "textbrewer",
    "torchdistill": "torchdistill.core.distillation",
}
LIBRARIES = {
    "trl": trl,
    "trainer": trainer,
    "textbrewer": textbrewer,
    "textbrewer_caching": lambda *all: textbrewer(*all, caching=True),
    "torchdistill": torchdistill,
}


def main():
    name, path, mode = sys.argv[1:]
    job = json.loads(Path(path).read_text())
    for one in ("transformers.models.bert.modeling_bert", LOADED[name]):
        importlib.import_module(one)
    gate = Gate(mode == "steps")
    began = time.process_time()
    try:
        LIBRARIES[name](job, gate, gate.waits)
    except Over:
        return
    print(json.dumps({"seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
