"""What the page of an ablation says around its numbers; `page.py` fills in the braces."""

from typing import Final

TITLE: Final = "Does distillation help?"

SOURCE: Final = (
    "Generated from the records of single runs{by}; all numbers are in `{numbers}` beside this "
    "page."
)

NO_PRIMARY: Final = "This grid has no primary comparison: everything below is exploration."
GAP: Final = "**The teacher above `{control}`**, how much there is to learn: "
GAP_UNKNOWN: Final = "not known, no teacher has both a score and such a student yet."
POSITIVE: Final = "**Positive control** (`{positive}` better than `{control}`): "
POSITIVE_ABSENT: Final = "not among the grid's comparisons."
POSITIVE_FAILED: Final = (
    "not passed, {verdict}{seen}. What is known to help is not seen to help here, so nothing else "
    "is judged."
)
NO_CONTROL: Final = "The grid names no control: nothing shows that it could see a gain."

VARIANTS: Final = (
    "Mean and standard deviation over runs. IoU in percent. These are not what is compared: seeds "
    "are easier or harder for all variants alike, and the comparisons below take the difference "
    "within "
    "each seed."
)

PRIMARY: Final = (
    "Variant minus baseline in points of {metric}, paired by seed. The positive control is tested "
    "first and alone, at 0.05; {family} are judged only if it passes, with p values corrected for "
    "their number by Holm's procedure, those not yet run included. Intervals are not corrected; "
    "`bootstrap` is the percentile interval over seeds and scenes, which asks for no normal "
    "distribution. Secondary rows are not corrected at all: with enough of them one will look good "
    "by chance. `detectable` is the true difference that as many seeds and scenes would show four "
    "times in five. `hangs on`: the classes and seeds without one of which the interval would have "
    "0 in it."
)

SECONDARY: Final = (
    "Secondary: p values are uncorrected, no margin of equivalence was set, and a verdict here is "
    "a hint for the next experiment, not a finding."
)

COST: Final = (
    "Median over runs on {device}{others}; what else the machine did was not controlled, and no "
    "claim rests on it."
)
OTHER_DEVICES: Final = " ({most} of {all} runs; times of several devices are not mixed)"

GRADIENTS: Final = (
    "Norm of each weighted term's gradient at the student's parameters, mean over runs, and its "
    "share of their sum. A term with a share near 0 cannot have done anything."
)

ENTROPIES: Final = (
    "How evenly the topological gradient is spread over the student's pairs "
    "(`reference.gradient_entropy`: 0 where one pair gets all of it, 1 where all get the same), "
    "mean and standard deviation over runs; a run's first and last 20 steps."
)

SHARED: Final = (
    "{same} of {own} runs are also those of grid {grid}: the same evidence and not more of it, and "
    "each grid corrects for its own questions alone."
)
OVER: Final = "Intervals are over {names}: other ones drawn in the same way."
FEW_TEACHERS: Final = "{teachers} only: the results are about {these}, not about teachers at large."
THESE_SCENES: Final = "Scenes could not be drawn: the results are about these scenes."
SIMULATED: Final = (
    "Simulated scenes can order losses under known conditions: same sensor, exact labels, classes "
    "as frequent as they were made. They cannot say how many points a loss gives on recorded "
    "frames: real clutter, rare classes, wrong labels and the gap between scenes of one city and "
    "another are not in them."
)
TINY: Final = (
    "The tiny pair shows whether a term does anything when both networks are small and training is "
    "short. A gain here may vanish at full size and full length, and a loss that needs wide "
    "features or a far better teacher may show nothing here and pay there."
)
OTHER_PAIR: Final = "The {pair} pair: other networks and longer schedules may answer otherwise."
WEIGHTS: Final = (
    "The variants' weights are those of the grid, not the best for each loss: this compares "
    "settings, "
    "and a variant that does nothing here may do something at another weight."
)

METHOD: Final = (
    "The variants of a seed share teacher, initial weights, crops and order; what is averaged is "
    "the "
    "difference within a seed. The {confidence:.0f}% interval is Student's t on the variance of "
    "these differences, plus the variance of their mean when validation scenes are drawn again "
    "with replacement, the same scenes for both variants (and the teachers' variance from three "
    "teachers on). Fewer than {for_interval} paired seeds: no number. Fewer than {for_claim}: no "
    'verdict. "Better" and "worse" need an interval without 0 and, for a primary comparison, p '
    'below 0.05 after Holm\'s correction; "suggestive" is an interval without 0 that the '
    'correction does not let pass. "Equivalent" means that the 90% interval lies within 0.3 '
    'mIoU of 0 (two one-sided tests); "interval too wide" that neither was shown, which is no '
    "evidence of no effect. The percentiles of a hierarchical bootstrap (teachers, seeds, scenes) "
    "and the exact sign-flip p value stand beside them in the JSON: with five seeds the first are "
    "too narrow and the second cannot be below 0.06."
)
