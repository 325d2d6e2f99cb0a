"""A program that measures: this library's session beside the Agents SDK's class, and beside a bare client."""
