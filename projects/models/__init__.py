from projects.models.api_key import ApiKey
from projects.models.audit import AuditEntry, AuditHead, AuditPromise
from projects.models.completion import StoredCompletion
from projects.models.dataset import Dataset, DatasetVersion, StagedUpload
from projects.models.event import Event
from projects.models.feedback import Feedback
from projects.models.guess import Guess
from projects.models.invitation import Invitation
from projects.models.pending import PendingEdits
from projects.models.people import ApiToken, IdempotencyKey, SignInLink, User
from projects.models.project import Membership, Project, Role
from projects.models.prompts import PromptTemplate, PromptTemplateVersion
from projects.models.registry import (
    AliasChange,
    AliasRules,
    ModelAlias,
    ModelVersion,
    RegisteredModel,
)
from projects.models.resumable import ResumableUpload, UploadedPiece
from projects.models.review import EarlierReview, Review, ReviewItem, ReviewQueue
from projects.models.slices import Slice
from projects.models.talk import Comment, Favourite, Notification, NotificationRule
from projects.models.webhook import Webhook, WebhookDelivery

__all__ = [
    "AliasChange",
    "AliasRules",
    "ApiKey",
    "ApiToken",
    "AuditEntry",
    "AuditHead",
    "AuditPromise",
    "Comment",
    "Dataset",
    "DatasetVersion",
    "EarlierReview",
    "Event",
    "Favourite",
    "Feedback",
    "Guess",
    "IdempotencyKey",
    "Invitation",
    "Membership",
    "ModelAlias",
    "ModelVersion",
    "Notification",
    "NotificationRule",
    "PendingEdits",
    "Project",
    "PromptTemplate",
    "PromptTemplateVersion",
    "RegisteredModel",
    "ResumableUpload",
    "Review",
    "ReviewItem",
    "ReviewQueue",
    "Role",
    "SignInLink",
    "Slice",
    "StagedUpload",
    "StoredCompletion",
    "UploadedPiece",
    "User",
    "Webhook",
    "WebhookDelivery",
]
