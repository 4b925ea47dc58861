"""The sub-command `export`, which writes a trained model in the format of other programs.

May import every other folder, inside functions where they are slow to import. It must not hold any rule about formats.
"""

import typer

from fastbp.command import options


def export(model: options.Model, output: options.ExportFile, coverage: options.Coverage = None) -> None:
    """Write a trained model as an ONNX graph, which takes raw columns and which many programs can run."""
    options.check_share("--coverage", coverage)
    if output.suffix != ".onnx":
        raise ValueError(f"--output must end in .onnx, not {output}")
    options.check_output("--output", output, [model])

    from fastbp.tabular.model import TableModel

    TableModel.load(model).to_onnx(output, coverage)
    typer.echo(f"wrote {output}")
