"""The networks: LFAN and CAN over interchangeable backbones.

Names are imported on first use, so that `abaw_pipeline.models.weights`, which the workflow's media jobs use, loads without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abaw_pipeline.models.create import create_model
    from abaw_pipeline.models.reference_names import load_reference_state_dict

__all__ = ["create_model", "load_reference_state_dict"]


def __getattr__(name: str) -> Any:
    if name == "create_model":
        from abaw_pipeline.models.create import create_model

        return create_model
    if name == "load_reference_state_dict":
        from abaw_pipeline.models.reference_names import load_reference_state_dict

        return load_reference_state_dict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
