"""The sub-command `export`, which writes a trained model in the format of other programs.

May import every other folder, inside functions where they are slow to import. It must not hold any rule about formats.
"""

import typer

from fastbp.command import options


def export(model: options.Model, output: options.ExportFile, coverage: options.Coverage = None) -> None:
    """Write a trained model as an ONNX graph, which takes raw columns, or as a C header."""
    options.check_share("--coverage", coverage)
    if output.suffix not in (".onnx", ".h"):
        raise ValueError(f"--output must end in .onnx or .h, not {output}")
    options.check_output("--output", output, [model])

    from fastbp.tabular.model import TableModel

    trained = TableModel.load(model)
    write = trained.to_onnx if output.suffix == ".onnx" else trained.to_c
    write(output, coverage)
    typer.echo(f"wrote {output}")
