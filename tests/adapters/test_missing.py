"""An adapter whose framework is not installed says what to install."""

import runpy
import sys

import pytest

from tests.programs import ROOT


@pytest.mark.parametrize(
    ("module", "framework", "remedy"),
    [
        ("agent_framework", "agent_framework", "pip install 'openai-sessions[agent-framework]'"),
        ("langchain", "langchain_core.chat_history", "pip install 'openai-sessions[langchain]'"),
    ],
)
def test_missing_framework_is_named(monkeypatch, module, framework, remedy):
    monkeypatch.setitem(sys.modules, framework, None)
    with pytest.raises(ImportError) as caught:
        runpy.run_path(str(ROOT / f"openai_sessions/adapters/{module}.py"))
    assert str(caught.value).endswith(remedy)
    assert framework == caught.value.name
