"""The catalog of error codes: what each one means, why it happens, and up to three ways out.

In:       nothing; the catalog is one literal.
Out:      `CATALOG`, code -> `Explanation`; `onchip explain OC1203` prints an entry.
Promises: every code that stands in the package has an entry (tests/errors/test_error_codes.py reads the source);
          hundreds group by subject: 10 usage and names, 11 chip files, 12 model files and graphs, 13 operators and
          shapes, 14 inputs, 20 and 21 does not fit, 30 mismatch, 90 our own bugs.
Does not: hold the numbers of an actual mistake; these are in the message that was raised.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a code means: a title, the reason, and what to do."""

    title: str
    why: str
    fixes: tuple[str, ...] = ()


CATALOG: dict[str, Explanation] = {
    # 10xx: usage and names
    "OC1001": Explanation(
        "Unknown chip",
        "No chip of that name is in the catalog, and a name never falls back to another chip's numbers.",
        ("List the catalog with `onchip chips`.", "Give a path that ends in .toml for a chip of your own."),
    ),
    "OC1002": Explanation(
        "Unknown network",
        "No network of that name is in the zoo; nothing is downloaded, so there are only the built-in ones.",
        ("List them with `onchip models`.", "Give a path that ends in .onnx, or `package.module:factory`."),
    ),
    "OC1003": Explanation(
        "A network of the zoo does not take that option",
        "Each builder of the zoo has its own sizes; an option that nobody reads would silently have no effect.",
        ("Use one of the options that the message names.",),
    ),
    "OC1005": Explanation(
        "A number without a unit, or with one that does not belong there",
        "Sizes are KiB, MiB, GiB (powers of two), rates kB/s, MB/s, GB/s (powers of ten), times ns, us, ms, s. "
        "KB and MB are refused for sizes, because half of the world reads them as 1000 and half as 1024.",
        ("Write the unit, as in '256 KiB', '3.2 GB/s', '500 MHz', '32 B/cycle' or '100 ns'.",),
    ),
    "OC1006": Explanation(
        "An override that cannot be applied",
        "An override is a dotted path into the chip file and a value: `local.size=512KiB`.",
        (
            "Write `name?key=value&key=value` or `--set key=value`.",
            "Print the keys with `onchip chips NAME`.",
        ),
    ),
    "OC1008": Explanation(
        "The command line cannot be read",
        "A verb, an option or an argument is missing, is not known, or has a value of the wrong kind.",
        (
            "List the verbs with `onchip --help`.",
            "List the options of a verb with `onchip VERB --help`.",
        ),
    ),
    "OC1009": Explanation(
        "Stopped by the user",
        "You pressed Ctrl-C. Output files are written whole or not at all, so none is left half done.",
    ),
    "OC1013": Explanation(
        "No network of that name to train",
        "onchip trains its demo networks only: a CNN, an LSTM and an attention encoder on the digits of scikit-learn.",
        ("Use one of the names in the message.", "A network of your own comes in as an ONNX file or a torch module."),
    ),
    "OC1014": Explanation(
        "An optional package is not installed",
        "PyTorch and scikit-learn are only needed for training and for reading torch modules, so they are an extra.",
        ("Install the extra: `pip install 'onchip[torch]'`.",),
    ),
    "OC1015": Explanation(
        "The output file cannot be written",
        "The directory does not exist, is not writable, or the disk is full. Files are written beside their place"
        " and then renamed, so an older file of that name is intact.",
        ("Create the directory, or name another one with `-o`.",),
    ),
    "OC1016": Explanation(
        "No error code of that name",
        "Error codes are OC and four digits, as they stand in messages.",
        ("Copy the code from the message.",),
    ),
    # 11xx: chip files
    "OC1101": Explanation(
        "The chip file cannot be read",
        "The file is absent, is no text file, is larger than 1 MiB, or is not valid TOML.",
        (
            "Mend the line that the message names.",
            "Start from a catalog chip: `onchip chips NAME > mine.toml`.",
        ),
    ),
    "OC1102": Explanation(
        "Unknown key in a chip file",
        "A key that nobody reads would be a number that silently has no effect, so it is refused.",
        (
            "Use the key that the message proposes.",
            "Point your editor at the schema: `#:schema chip-1.json`.",
        ),
    ),
    "OC1103": Explanation(
        "A field is missing from a chip file",
        "Fields that change time or memory have no default: a chip never gets another chip's numbers.",
        ("Add the field with its source.", 'Name a parent explicitly: `extends = "edge-npu-16"`.'),
    ),
    "OC1104": Explanation(
        "The published peak contradicts array x clock",
        "A peak is 2 x MACs per cycle x cores x clock. When the file's [peak] differs from that by more than 2 %, "
        "the array, the number of cores, the clock or the peak is wrong (often: a sparse peak, or a boost clock).",
        ("Use the dense peak.", 'Give the dtype its own clock: [clock] fp32 = "1980 MHz".', "Correct the array."),
    ),
    "OC1105": Explanation(
        "A value in a chip file is not what its field takes",
        "The value has the wrong type, an unknown unit, or is outside the range of the field.",
        ("Write the value as the message shows.",),
    ),
    "OC1106": Explanation(
        "A chip file contradicts itself",
        "Two fields cannot both hold, for instance a default dtype for which there is no array.",
        ("Change one of the two fields that the message names.",),
    ),
    "OC1107": Explanation(
        "The parent of a chip file cannot be used",
        "`extends` names a chip that does not exist, or the chain of parents is circular or longer than 8.",
        ("Name a catalog chip, or a .toml file beside this one.",),
    ),
    # 12xx: model files and graphs
    "OC1221": Explanation(
        "A name stands twice in the graph",
        "Tensors and nodes are found by their names, so each name is used once.",
        ("Rename one of the two.",),
    ),
    "OC1222": Explanation(
        "A tensor is used before it is made",
        "Nodes stand in the order in which they run.",
        ("Sort the nodes so that producers come first.",),
    ),
    "OC1223": Explanation(
        "An output that nobody makes",
        "Every output of a graph is an input, a constant, or made by a node.",
        ("Name an existing tensor as the output.",),
    ),
    "OC1224": Explanation(
        "A quantization that contradicts itself",
        "There is one scale and one zero point per tensor, or per index of the axis; scales are positive.",
        ("Give as many scales as the axis has entries.",),
    ),
    "OC1225": Explanation(
        "A dimension has no number yet",
        "Work and memory can be counted only when every named dimension has a number.",
        ("Bind it: `graph.bind(batch=1)`, or --batch and --seq.",),
    ),
    "OC1226": Explanation(
        "An unknown dtype",
        "Tensors are f32, tf32, f16, bf16, fp8, i8, u8, i16, i32, i64 or bool.",
        ("Use one of these.",),
    ),
    "OC1227": Explanation(
        "A constant's array does not have the tensor's shape",
        "The shape of a tensor is the shape of its values.",
        ("Correct one of the two.",),
    ),
    "OC1228": Explanation(
        "An op with the wrong number of inputs",
        "Every op names its inputs; trailing ones may be optional.",
        ("Give the inputs that the message counts.",),
    ),
    "OC1229": Explanation(
        "A missing attribute",
        "This attribute has no default, since no value would be right for most networks.",
        ("Add it to the node.",),
    ),
    "OC1230": Explanation(
        "A shape that does not follow from the op",
        "The shape of an output is what the op makes of its inputs.",
        ("Let GraphBuilder infer the shape.",),
    ),
    "OC1231": Explanation(
        "No tensor of that name",
        "The graph has no such tensor.",
        ("Print the graph to see its names.",),
    ),
    "OC1232": Explanation(
        "No node of that name",
        "The graph has no such node.",
        ("Print the graph to see its names.",),
    ),
    "OC1233": Explanation(
        "No dimension of that name",
        "bind replaces dimensions that the graph names; it has none of this name.",
        ("Print graph.symbols.",),
    ),
    "OC1234": Explanation(
        "A dimension below 1",
        "Empty tensors are not computed.",
        ("Bind a positive number.",),
    ),
    "OC1240": Explanation(
        "A program file cannot be opened",
        "The file is absent, or the folder cannot be written.",
        ("Check the path and its permissions.",),
    ),
    "OC1241": Explanation(
        "A program file is too large",
        "What it unpacks to is measured before it is read; the limit keeps a small file from filling the memory.",
        ("Compile the network again.",),
    ),
    "OC1242": Explanation(
        "The file is not a program of onchip",
        "Truncated, of another kind, or its parts contradict one another.",
        ("Write it again with onchip compile -o.",),
    ),
    "OC1243": Explanation(
        "A program file of another version",
        "Program files carry the version of their layout.",
        ("Compile the network again with this onchip.",),
    ),
    "OC1235": Explanation(
        "The text of a graph cannot be read",
        "Canonical text has one line per tensor and node; the message names the line.",
        ("Write it again with str(graph).",),
    ),
    "OC1236": Explanation(
        "An unknown attribute",
        "An attribute that nobody reads would silently have no effect.",
        ("Use the name that the message proposes.",),
    ),
    "OC1237": Explanation(
        "A tensor that is made twice",
        "Every tensor has one origin: an input, a constant, or one node.",
        ("Give the second one a name of its own.",),
    ),
    "OC1238": Explanation(
        "A state that does not fit",
        "A state hands the value of a tensor to an input of the next run, so both have one shape.",
        ("Name an input and a tensor of the same shape.",),
    ),
    "OC1250": Explanation(
        "The model file cannot be opened",
        "The file is absent, is a directory, cannot be read, or is larger than the limit of 2 GiB.",
        ("Check the path.", "Keep large weights out of the file, or export a smaller network."),
    ),
    "OC1251": Explanation(
        "The file is not a valid ONNX model",
        "The bytes do not parse as an ONNX protobuf, or the model in it contradicts the ONNX rules; often it is truncated.",
        ("Copy the file again.", "Run `python -m onnx.bin.checker FILE`, or export the model once more."),
    ),
    "OC1252": Explanation(
        "The model keeps its weights in other files",
        "External data is read only from the directory of the model itself, and it was not there or is not complete.",
        ("Put the data file beside the model.", "Save with `onnx.save(model, path, save_as_external_data=False)`."),
    ),
    "OC1253": Explanation(
        "The opset of the model is outside of what is read",
        "The meaning of ONNX operators changes between opsets; onchip reads opsets 7 to 26.",
        ("Convert it: `onnx.version_converter.convert_version(model, 18)`.",),
    ),
    "OC1254": Explanation(
        "This is no model that onchip can read",
        "A model is a path that ends in .onnx, a name of the zoo (`@resnet50`), `package.module:factory`, or a torch module "
        "with example inputs. Pickles (.pt, .pth, .pt2) are not read: loading one can run any code.",
        ("Export to ONNX.", "Name a factory that builds the module: `package.module:factory`."),
    ),
    "OC1255": Explanation(
        "The factory cannot be called",
        "`package.module:factory` names a function without required arguments that gives a torch module, or a pair of "
        "module and example inputs, or a Graph. Importing or calling it failed, or it gave something else.",
        ("Import it yourself in Python from the same directory.",),
    ),
    "OC1256": Explanation(
        "torch.export could not capture the module",
        "The forward function depends on the values in its tensors (an `if` on a tensor, for instance), or the example "
        "inputs do not fit it.",
        ("Call the module with the example inputs.", "Pass `is_dynamic=False` to fix the batch."),
    ),
    "OC1257": Explanation(
        "Example inputs are missing",
        "A torch module says nothing about the shapes of its inputs; they are learned from an example.",
        ("Pass a tensor or a tuple of tensors: `read(module, example)`.",),
    ),
    # 13xx: operators and shapes
    "OC1301": Explanation(
        "The chip has no arithmetic for that dtype",
        "The chip file lists a matrix array per dtype; a dtype that is absent there cannot run on it.",
        ("Choose one of the dtypes that the message names.", "Quantize the network to int8."),
    ),
    "OC1310": Explanation(
        "An unknown op",
        "The graph uses an op that onchip does not have.",
        ("Use the op that the message proposes.",),
    ),
    "OC1311": Explanation(
        "A required input of an op is absent",
        "Only trailing optional inputs may be left out.",
        ("Connect the input.",),
    ),
    "OC1312": Explanation(
        "A tensor has the wrong number of dimensions",
        "The op is defined for tensors of another rank.",
        ("Reshape it.",),
    ),
    "OC1313": Explanation(
        "A dimension has to be a number here",
        "The rule computes with the size, and a name has none.",
        ("Bind the dimension to a number.",),
    ),
    "OC1314": Explanation(
        "Shapes that do not go together",
        "Two dimensions have to be equal, to divide, or to broadcast.",
        ("Correct the shape that the message names.",),
    ),
    "OC1315": Explanation(
        "An attribute is out of its range",
        "Strides, kernels and dilations are at least 1, padding at least 0, a step is not 0.",
        ("Correct the attribute.",),
    ),
    "OC1316": Explanation(
        "An axis that the tensor does not have",
        "Axes count from 0, or from -1 backwards; a permutation names each once.",
        ("Correct the axis.",),
    ),
    "OC1317": Explanation(
        "The window is larger than the picture",
        "A convolution or pooling needs at least one position for its window.",
        ("Use larger inputs, more padding, or a smaller kernel.",),
    ),
    "OC1318": Explanation(
        "A depthwise window of more than 512 cells",
        "The exact int8 sum of such a window is not implemented.",
        ("Use a smaller kernel.",),
    ),
    "OC1319": Explanation(
        "Different quantization where bits are copied",
        "Ops that copy or compare integers need one scale and zero point on all sides.",
        ("Insert requantize.",),
    ),
    "OC1320": Explanation(
        "An unknown rounding mode on a node",
        "Requantization rounds single, double or fp32; docs/arithmetic.md has them bit by bit.",
        ("Use one of these.",),
    ),
    "OC1321": Explanation(
        "An unknown fused activation",
        "conv2d, linear, add, sub and mul take none, relu or relu6.",
        ("Use a node of its own for other activations.",),
    ),
    "OC1322": Explanation(
        "A tensor without quantization in an integer op",
        "The integer meaning of an op needs scale and zero point of its inputs and output.",
        ("Quantize the graph with onchip's quantize.",),
    ),
    "OC1323": Explanation(
        "A reshape that does not fit",
        "The number of elements has to stay, with named dimensions kept.",
        ("Correct the target shape.",),
    ),
    "OC1324": Explanation(
        "A slice that leaves nothing",
        "Empty tensors are not computed.",
        ("Correct start and stop.",),
    ),
    "OC1325": Explanation(
        "A reshape to several named dimensions",
        "It can run only after the names have numbers.",
        ("Bind the dimensions.",),
    ),
    "OC1326": Explanation(
        "A quantizing op between tensors without quantization",
        "quantize, dequantize and requantize read scale and zero point from the tensors.",
        ("Give the tensor its quantization.",),
    ),
    "OC1327": Explanation(
        "An int8 softmax with another output quantization",
        "Its output has scale 1/256 and zero point -128 by definition, as in LiteRT.",
        ("Give the output these parameters.",),
    ),
    "OC1328": Explanation(
        "An int8 attention with a mask that adds",
        "Integer attention keeps or drops a score.",
        ("Pass a bool mask.",),
    ),
    "OC1329": Explanation(
        "An LSTM cell whose scale is no power of two",
        "The int16 cell has 9 to 15 fraction bits, so that products need only shifts.",
        ("Round the scale up to a power of two.",),
    ),
    "OC1333": Explanation(
        "A row too long for the integer sums",
        "int8 softmax holds 4,095 entries per row, int8 layer_norm 16,384: longer sums leave 32 bits.",
        ("Run this network on a chip with floats.",),
    ),
    "OC1334": Explanation(
        "Constants out of the range of int8 layer_norm",
        "eps, scale or bias, divided by the scales, leave the 32 bits of the sequence.",
        ("Check the calibration of input and output.",),
    ),
    "OC1335": Explanation(
        "An op without integer meaning between int8 tensors",
        "Division, powers and batch norms are computed in floats only.",
        ("Fold batch norms into their convolution first.", "Keep the op in floats."),
    ),
    "OC1350": Explanation(
        "An operator that is not read",
        "The network uses an operator that onchip can neither price nor run. It is refused, never counted as zero.",
        ("Replace it in the network.", "Cut the network in front of it."),
    ),
    "OC1351": Explanation(
        "A form of an operator that is not read",
        "The operator is known, but not with these attributes, this number of dimensions or these kinds of inputs.",
        ("Use the form that the message names.",),
    ),
    "OC1352": Explanation(
        "An operator of a custom domain",
        "Only operators of the standard ONNX domain have a public meaning.",
        ("Export without runtime-specific fusions: do not save a model that ONNX Runtime has optimised.",),
    ),
    "OC1353": Explanation(
        "A shape that depends on the data",
        "Shapes have to be known from the shapes of the inputs: numbers, and symbols for whole dimensions.",
        ("Fix the dimension in the export.",),
    ),
    "OC1380": Explanation(
        "An operator without int8 arithmetic",
        "Division, powers and the like have no integer meaning here; to leave them in floats would mix two arithmetics "
        "unseen.",
        ("Run the network on a chip with floats.", "Replace the operator: division by a constant by a product."),
    ),
    "OC1381": Explanation(
        "An int8 operator would read a tensor that is no float activation",
        "Only float tensors are quantized; an integer or 16-bit tensor has no int8 parameters.",
        ("Take the int8 output of the producing node instead (of an lstm: y or h, not c).",),
    ),
    "OC1382": Explanation(
        "Weights that are computed at run time",
        "conv2d and linear take per-channel weights that are known before the run.",
        (
            "Use matmul for the product of two activations.",
            "Fold first, so that constant expressions become constants.",
        ),
    ),
    "OC1383": Explanation(
        "An attention mask that adds, in an int8 network",
        "int8 attention keeps a score or drops it; an additive mask with other values than 0 and very negative ones is "
        "a bias.",
        ("Pass a bool mask, true where a score is kept.",),
    ),
    "OC1384": Explanation(
        "An int8 LSTM with an initial state",
        "The integer LSTM starts from zeros.",
        ("Leave h0 and c0 away.", "Run the network on a chip with floats."),
    ),
    "OC1385": Explanation(
        "Not a float dtype",
        "The cast pass turns a float network into another float dtype; integers come from quantization, with samples.",
        ("Use f32, tf32, f16, bf16 or fp8.", "Use quantize for int8."),
    ),
    # 14xx: inputs
    "OC1402": Explanation(
        "An input is missing",
        "The graph names its inputs; each needs an array.",
        ("Pass a dict with these names.",),
    ),
    "OC1403": Explanation(
        "An input of the wrong shape",
        "Dimensions with a number have to be equal to it.",
        ("Reshape the array, or bind another batch.",),
    ),
    "OC1404": Explanation(
        "An unknown boundary",
        "Inputs and outputs are floats at the edges, or the integers behind them.",
        ("Use 'float' or 'int'.",),
    ),
    "OC1405": Explanation(
        "A constant without values",
        "The network was built from shapes alone.",
        ("Build it with weights='random', or read a trained one.",),
    ),
    "OC1406": Explanation(
        "An index outside of the table",
        "gather reads row number id of a table; there is no such row.",
        ("Check the vocabulary of the token ids.",),
    ),
    "OC1407": Explanation(
        "An input of the wrong kind of number",
        "Integer inputs (token ids, masks) take integers, int8 inputs int8.",
        ("Convert the array.",),
    ),
    "OC1408": Explanation(
        "An array for a tensor that the graph does not have",
        "evaluate takes a dict of input names; an unknown name would silently have no effect.",
        ("Use the name that the message proposes.",),
    ),
    "OC1411": Explanation(
        "No calibration samples",
        "Post-training quantization reads the range of every tensor from samples; an empty list has no ranges.",
        ("Give a few dozen typical inputs.", "Give None where only time and memory are asked for."),
    ),
    "OC1412": Explanation(
        "A percentile that cuts everything",
        "The range is cut to the p-th and the (100-p)-th percentile, so p lies in [0, 50).",
        ("Use 0.01 to 1, or None for minimum and maximum.",),
    ),
    "OC1413": Explanation(
        "Calibration meets values that are not finite",
        "A range up to infinity has no step, so nothing could be quantized.",
        ("Look for a division by zero, an overflow or a NaN in the sample.",),
    ),
    "OC1414": Explanation(
        "Unknown rounding mode",
        "Requantization rounds once (single), as LiteRT's reference does (double), or through float32 (fp32); "
        "docs/arithmetic.md has them bit by bit.",
        ("Use the mode that the chip offers; our own chips round once.",),
    ),
    "OC1415": Explanation(
        "The network is quantized already",
        "Quantizing twice would calibrate the noise of the first rounding.",
        ("Use the network as it is.", "Give the float network."),
    ),
    "OC1421": Explanation(
        "The input file cannot be used",
        "Inputs are read from a .npz file with one array per input of the network, or a .npy file for a network "
        "with one input; arrays of Python objects are refused, because reading them can run any code.",
        (
            "Save with `numpy.savez(path, name=array)`.",
            "Print the names and shapes with `onchip inspect MODEL`.",
        ),
    ),
    # 20xx, 21xx: does not fit
    # 30xx: mismatch
    "OC3001": Explanation(
        "The chip's outputs differ from the integer reference",
        "The program that ran and the integer network that it was made from must agree in every bit; a difference"
        " is a bug of onchip, not a rounding matter.",
        ("Report it with the model, the chip file and the inputs.",),
    ),
    # 90xx: our own bugs
    "OC9040": Explanation(
        "An energy without its components",
        "A kernel's energy has exactly the components compute, sram, accumulator, dram and static.",
        ("Report it with the command that you ran.",),
    ),
    "OC9041": Explanation(
        "An energy that is negative or not finite",
        "Energies are counts times a table of positive numbers.",
        ("Report it with the command that you ran.",),
    ),
    "OC9042": Explanation(
        "Parts of a report do not sum to the whole",
        "The waterfall sums to the latency, the energy of the components to the total.",
        ("Report it with the command that you ran.",),
    ),
    "OC9043": Explanation(
        "Layers of a report do not sum to the whole",
        "Kernels follow one another, so their cycles sum to the cycles of the run.",
        ("Report it with the command that you ran.",),
    ),
    "OC9044": Explanation(
        "A quantity without provenance",
        "Every number of a report says where it comes from, and none is negative.",
        ("Report it with the command that you ran.",),
    ),
    "OC9045": Explanation(
        "An average above its peak",
        "No utilization can exceed 1.",
        ("Report it with the command that you ran.",),
    ),
    "OC9099": Explanation(
        "An error inside onchip",
        "Something happened that onchip has no message for; this is a bug of onchip.",
        ("Set ONCHIP_TRACEBACK=1 to see where, and report it with the command that you ran.",),
    ),
}
