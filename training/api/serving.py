"""Predictions: what a version of a model answers to inputs that are sent."""

from decimal import Decimal
from typing import Any, ClassVar

from django.http import QueryDict
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from distillhub.lib import rest
from distillhub.lib.errors import Forbidden, Invalid
from distillhub.lib.rest import SafeJSONParser
from projects.api.authentication import may_only_read
from projects.models import ModelVersion, Role
from training.api.models import ModelMixin
from training.api.runs import RunView
from training.services import serving

JSON = dict[str, Any]


class WrittenOptions(serializers.Serializer[Any]):
    """Of models that write."""

    most = serializers.IntegerField(
        min_value=1, max_value=serving.MOST_TOKENS, required=False, help_text="Tokens; 64."
    )
    temperature = serializers.FloatField(
        min_value=0, max_value=2, required=False, help_text="0, the default: the likeliest token."
    )
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    shown = serializers.IntegerField(
        min_value=0,
        max_value=10,
        required=False,
        help_text="Other tokens that are told at each place; 5.",
    )


class PredictRequest(serializers.Serializer[Any]):
    inputs = serializers.ListField(
        child=serializers.JSONField(),
        help_text=f"At most {serving.MOST_INPUTS}. Texts; pictures or sounds in base64; objects of "
        "a table's columns; of models that write, texts or lists of messages.",
    )
    top = serializers.IntegerField(
        min_value=1, required=False, help_text="The most probabilities of an answer; all of them."
    )
    export = serializers.IntegerField(
        min_value=1, required=False, help_text="An export of the version that answers in its place."
    )
    measure = serializers.IntegerField(
        min_value=0,
        max_value=50,
        default=0,
        help_text="How often the first input is timed, for `latency`.",
    )
    written = WrittenOptions(required=False)
    budget = serializers.DecimalField(
        max_digits=12,
        decimal_places=6,
        min_value=Decimal(0),
        max_value=Decimal(100),
        required=False,
        help_text="What the answers of a service may cost together; without it none is asked. "
        "Editors say it.",
    )
    labels = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        max_length=1000,
        help_text="That a service may answer, where the version knows none.",
    )


class NamedPredictRequest(PredictRequest):
    version = serializers.CharField(
        max_length=100,
        default="latest",
        help_text="A number, an alias such as `production`, or `latest`: the newest that is ready.",
    )


class PredictUpload(serializers.Serializer[Any]):
    inputs = serializers.ListField(child=serializers.FileField(), help_text="Pictures or sounds.")
    top = serializers.IntegerField(min_value=1, required=False)
    export = serializers.IntegerField(min_value=1, required=False)


class PredictionShape(serializers.Serializer[Any]):
    """One answer."""

    label = serializers.JSONField(  # type: ignore[assignment]
        allow_null=True,
        help_text="A label; a list of them where there may be several, or of words'; a number; a "
        "text; null of vectors, and where the input could not be read.",
    )
    probabilities = serializers.DictField(
        child=serializers.FloatField(), help_text="By label, the likeliest first."
    )
    error = serializers.CharField(required=False, help_text="Why this input could not be read.")
    vector = serializers.ListField(child=serializers.FloatField(), required=False)
    words = serializers.ListField(
        child=serializers.JSONField(),
        required=False,
        help_text="{text, start, end, label, probability} of each word.",
    )
    spans = serializers.ListField(
        child=serializers.JSONField(),
        required=False,
        help_text="{label, text, start, end, probability} of each span.",
    )
    ended = serializers.BooleanField(required=False, help_text="Whether a text came to its end.")
    tokens = serializers.ListField(
        child=serializers.JSONField(),
        required=False,
        help_text="{text, probability, alternatives: [{text, probability}]} of each token.",
    )


class LatencyShape(serializers.Serializer[Any]):
    median_ms = serializers.FloatField()
    calls = serializers.IntegerField()
    of = serializers.ChoiceField(["input", "token"])


class PredictShape(serializers.Serializer[Any]):
    model = serializers.CharField(help_text="The version that answered.")
    predictions = PredictionShape(many=True)
    problem = serializers.CharField()
    milliseconds = serializers.FloatField(help_text="Of the batch, without the way here.")
    latency = LatencyShape(allow_null=True, help_text="Where `measure` asked for it.")


EXAMPLE = OpenApiExample("texts", {"inputs": ["where is my parcel", "I want my money back"]})
HOW = (
    "Answered by a process of this machine that keeps the models used last in memory; the first "
    "request of a model loads it. What many ask at once is answered together. A token that may "
    "only read is enough."
)


class _Predict(ModelMixin):
    parser_classes = (SafeJSONParser, MultiPartParser)
    roles: ClassVar[dict[str, Role]] = {"POST": Role.VIEWER}
    only_reads = True

    def version_says(self, version: ModelVersion, asked: JSON) -> Response:
        if asked.get("budget") is not None:
            self.project(at_least=Role.EDITOR)
            if may_only_read(self.request):
                raise Forbidden("This token may only read; what costs money needs one that writes.")
        return _response(serving.predict(version=version, **asked))


class VersionPredict(_Predict):
    """Predictions of one version."""

    @extend_schema(
        operation_id="model_versions_predict",
        summary="Ask a version",
        request={"application/json": PredictRequest, "multipart/form-data": PredictUpload},
        responses=PredictShape,
        description=HOW,
        examples=[EXAMPLE],
    )
    def post(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        return self.version_says(self.version(), _asked(request, PredictRequest))


class ModelPredict(_Predict):
    """Predictions of the version that an alias means, or the newest."""

    @extend_schema(
        operation_id="models_predict",
        summary="Ask the version of an alias, or the newest",
        request={"application/json": NamedPredictRequest},
        responses=PredictShape,
        description=HOW,
        examples=[EXAMPLE],
    )
    def post(self, request: Request, project_slug: str, model_name: str) -> Response:
        asked = _asked(request, NamedPredictRequest)
        which = asked.pop("version")
        version = serving.named(project=self.project(), name=model_name, version=which)
        return self.version_says(version, asked)


class RunPredict(RunView):
    """Predictions of what a run trained."""

    parser_classes = (SafeJSONParser, MultiPartParser)
    roles: ClassVar[dict[str, Role]] = {"POST": Role.VIEWER}
    only_reads = True

    @extend_schema(
        operation_id="runs_predict",
        summary="Ask what a run trained",
        request={"application/json": PredictRequest, "multipart/form-data": PredictUpload},
        responses=PredictShape,
        description=f"Also where it is no version, such as of a control. {HOW}",
        examples=[EXAMPLE],
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        asked = _asked(request, PredictRequest)
        for name in ("export", "budget", "labels"):
            if asked.pop(name, None) is not None:
                sentence = "It is no word about a run; ask the version that it made."
                raise Invalid(f"{name}: {sentence}", fields={name: [sentence]})
        return _response(serving.predict_run(run=self.run(), **asked))


def _response(said: serving.Answered) -> Response:
    return Response(
        {
            "model": said.model,
            "predictions": [{"label": None, "probabilities": {}, **one} for one in said.answers],
            "problem": said.problem,
            "milliseconds": said.milliseconds,
            "latency": said.latency,
        }
    )


def _asked(request: Request, shape: type[PredictRequest]) -> JSON:
    """Raises Invalid for keys that are not known, and files among other things."""
    if isinstance(request.data, QueryDict):
        raw: JSON = {name: request.data.get(name) for name in request.data if name != "inputs"}
        files = request.FILES.getlist("inputs")
        if len(files) < len(request.data.getlist("inputs")):
            raise Invalid("Of a form, `inputs` are files.", fields={"inputs": ["Send files."]})
        serving.require_bounded([file.size or 0 for file in files])  # before they are read
        raw["inputs"] = [file.read() for file in files]
        if isinstance(raw.get("written"), str):
            try:
                raw["written"] = rest.loaded(raw["written"].encode())
            except ValueError as fault:
                raise Invalid(f"written: {fault}", fields={"written": [str(fault)]}) from None
    elif isinstance(request.data, dict):
        raw = dict(request.data)
    else:
        raise Invalid("Send an object with `inputs`.")
    if unknown := sorted(set(raw) - set(shape().fields)):
        known = ", ".join(shape().fields)
        sentence = f"There is no such key; there are {known}."
        raise Invalid(f"{unknown[0]}: {sentence}", fields={unknown[0]: [sentence]})
    inputs = raw.pop("inputs", None)
    if not isinstance(inputs, list):
        raise Invalid("inputs: Send a list.", fields={"inputs": ["Send a list."]})
    checked = shape(data={**raw, "inputs": []})
    checked.is_valid(raise_exception=True)
    return {**checked.validated_data, "inputs": inputs}
