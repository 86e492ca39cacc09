"""Runs the orchestrator: `python -m services.orchestrator`."""

from services.orchestrator.app import main

raise SystemExit(main())
