"""A person's training with transformers' Trainer, which reports to MLflow and saves checkpoints. It
knows nothing of DistillHub. Prints the id of its run."""

import sys
from typing import Any

import mlflow
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


class Rows(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, place: int) -> dict[str, Any]:
        words = [1, 2 + place % 5, 3]
        return {"input_ids": words, "attention_mask": [1, 1, 1], "labels": place % 2}


def main(folder: str) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=10,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=8,
    )
    made: Any = TrainingArguments
    arguments = made(
        output_dir=folder,
        report_to="mlflow",
        run_name="tiny bert",
        max_steps=4,
        per_device_train_batch_size=2,
        logging_steps=1,
        save_steps=2,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer: Any = Trainer
    trainer(BertForSequenceClassification(config), arguments, train_dataset=Rows()).train()
    run = mlflow.last_active_run()
    assert run is not None
    print(run.info.run_id)


if __name__ == "__main__":
    main(sys.argv[1])
