.PHONY: check test coverage bench docs wheel versions

# what a commit must pass before review
check:
	uv run ruff format --check .
	uv run ruff check .
	uv run mypy
	HF_HUB_OFFLINE=1 uv run pytest -n auto

# everything, slow tests included
test:
	HF_HUB_OFFLINE=1 uv run pytest -n auto
	HF_HUB_OFFLINE=1 uv run pytest -m slow

# lines of store, running, statistics, security and checkpoint reading that no test reaches
coverage:
	uv run scripts/check_coverage.py

# small sizes on this machine; docs/performance.md has the commands for cards
bench:
	uv run python -m benchmarks.run_all results --device cpu --config tiny

docs:
	NO_MKDOCS_2_WARNING=1 uv run mkdocs build

wheel:
	uv run scripts/check_wheel.py

# after the suite has passed: which versions it passed with
versions:
	uv run scripts/write_tested_versions.py
