"""Grids of trained models: cells, their ledger, tables and plots."""
