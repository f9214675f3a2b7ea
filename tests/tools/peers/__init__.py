# SPDX-License-Identifier: Apache-2.0
"""Peers for the scenario tests: raw clients, scripted origins, and Weir as a process."""
