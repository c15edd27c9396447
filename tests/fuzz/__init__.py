"""Inputs of every shape at every place where one arrives from outside."""
