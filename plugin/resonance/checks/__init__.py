# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Checks: they read things and report all problems at once, each with its cure.

Works without torch in the process that asks; whatever has to be imported to be judged is imported by a child process.
"""
