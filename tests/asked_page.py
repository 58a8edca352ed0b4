"""The report's page asked a question, beside the command that answers the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.examination.kept import examination_notes
from experiments.metrics import METRICS
from experiments.reporting.number_tables import NumberTable, answer_tables, correlations_table, measure_table
from experiments.stats.overall import overall_sentence
from experiments.stats.questions.answering import Asked, answer
from experiments.stats.questions.sentences import answer_sentences, correlation_sentence
from experiments.stats.verdict import sentences
from experiments.store.result_store import ResultStore

ASK = """
(wanted) => {
  document.getElementById('ask-open').open = true;
  const form = document.getElementById('ask-controls').elements;
  for (const [name, value] of Object.entries(wanted)) {
    if (!form[`ask-${name}`]) continue;
    if (typeof value === 'boolean') form[`ask-${name}`].checked = value;
    else form[`ask-${name}`].value = value;
  }
  document.getElementById('ask-controls').dispatchEvent(new Event('input'));
  return new Promise((resolve) => setTimeout(() => resolve({
    tables: [...document.querySelectorAll('#answers table')].map((table) => ({
      name: table.dataset.name,
      columns: [...table.querySelectorAll('thead th')].map((head) => head.textContent),
      rows: [...table.querySelectorAll('tbody tr')].map((row) => [...row.children].map((cell) => cell.dataset.value)),
    })),
    sentences: [...document.querySelectorAll('#answers > p:not(.note)')].map((line) => line.textContent),
    notes: [...document.querySelectorAll('#answers > p.note:not(.in-a-terminal)')].map((line) => line.textContent),
    command: document.querySelector('#answers code').textContent,
    terminal: document.querySelector('#answers .in-a-terminal').textContent,
  }), 50));
}
"""
NOTHING_ASKED = {
    "property category": "",
    "property difficulty": "",
    "seed": "",
    "axis shift": "",
    "axis num_inference_steps": "",
    "by": "",
    "trend": "",
    "pairs": False,
    "prompts": False,
    "correlate": False,
}


def ask(page: Any, controls: dict[str, Any], baseline: str) -> dict[str, Any]:
    """Ask the page after it has forgotten what it was asked before."""
    page.evaluate(ASK, {**NOTHING_ASKED})
    page.evaluate(ASK, {**NOTHING_ASKED, "baseline": baseline})
    page.evaluate("() => localStorage.clear()")
    shown: dict[str, Any] = page.evaluate(ASK, {**NOTHING_ASKED, **controls})
    return shown


def told_by_command(
    folder: Path, asked: Asked, column: str = "image_reward"
) -> tuple[dict[str, NumberTable], list[str], list[str]]:
    """Return the tables, the sentences and the notes of one measure."""
    store = ResultStore(folder)
    found = answer(store.manifest(), store.runs(), METRICS, asked)
    result = next(item for item in found.analysis.measures if item.measure.column == column)
    tables = [measure_table(found.analysis, result)]
    overall = overall_sentence(found.analysis, [item for item in found.analysis.measures if item.measure.is_main])
    told = [*([overall] if overall else []), *sentences(found.analysis, result)]
    of_measure = found.of(result.measure)
    if of_measure is not None:
        tables += answer_tables(of_measure, with_slopes=asked.per_prompt)
        told += answer_sentences(of_measure)
    if found.correlations:
        tables.append(correlations_table(found.correlations))
        told += [correlation_sentence(item) for item in found.correlations]
    examined = examination_notes(found.records, result.measure.metric)
    return {table.name: table for table in tables}, told, [*result.notes, *examined, *found.analysis.notes]
