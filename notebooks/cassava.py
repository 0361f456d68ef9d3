# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Cassava: does the attention lie on the lesion, or on the background?
#
# A plant doctor looks at the spots on a leaf. A model that was shown a few thousand photos may have found something
# easier: the soil of the farm where the sick plants grew, the light, the border of the photo. The paper reads
# attention along the border or on flat ground as a sign of overfitting. This notebook takes that at its word and
# counts.
#
# **What you'll do.** Load photos of healthy and diseased cassava leaves. Take a Vision Transformer that distinguishes
# five conditions. Follow one photo from the scores to the finished map. Explore heads and layers by hand. Draw the
# paper's figure, and what fine-tuning changed. Measure, over the whole test split, how much of the attention lies on
# the border and on flat ground, and whether that has to do with being right. Then put two maps on trial.
#
# **What you'll learn.** What eq. 3 and eq. 4 of Calderaro et al. (2023) compute, how to turn "it looks at the
# background" into a number with an interval, and how to test whether a map shows what the model used.
#
# **What you need.** About 80 minutes (read and run 30, explore 15, measure and discuss 35), this kit, two CPU cores.
# No network is needed: where the photos are missing you get a stand-in, where the weights are missing the embedded
# model, and a printed line says so.

# %% [markdown]
# ## Parameters
#
# The only cell to change. Everything below follows from it.

# %% tags=["parameters"]
DATA = None  # folder with cbb, cbsd, cgm, cmd and healthy; None looks in $VITATTN_DATA/cassava, else takes the stand-in
CHECKPOINT = "runs/cassava-recommended/best.safetensors"  # used where it exists
MODEL = None  # a timm name, which is fine-tuned where there is no checkpoint; None is ViT-Tiny
EPOCHS = 3  # of the quick fine-tuning
PHOTOS_PER_CLASS = 10  # that it learns from: few, on purpose
MADE = (40, 10, 40)  # size of the stand-in: pictures per class for training, validation and test
TABLE_PHOTOS = 40  # the last table covers at most this many photos of sick plants
SEED = 0  # of the split, the drawn pictures and the fine-tuning

# %%
# %matplotlib inline
import numpy as np

import vitattn_widgets as va

# %% [markdown]
# ## 1. The data at a glance
#
# The cassava set (Mwebaze et al. 2019) has 9,436 photos, taken in Uganda, of four diseases and of healthy plants:
# bacterial blight (`cbb`, dark angular spots), brown streak disease (`cbsd`, yellowing along the veins), green mite
# (`cgm`, fine pale speckles), mosaic disease (`cmd`, distorted leaves with yellow patches) and `healthy`. Before you
# look at any map: what tells the five apart in these pictures, and what else differs between them? Write down two
# things that a model could use *instead* of the lesions.

# %%
data = va.load_dataset("cassava", DATA, seed=SEED, per_class=MADE)
print(data.describe())
va.figures.photos_figure(data.train, per_class=2)

# %% [markdown]
# A cyan line, where there is one, is ground truth: it surrounds the lesions, and on a healthy plant the leaf, because
# there all of it is evidence. Only the stand-in has such masks, since its pictures are drawn by code. The model never
# sees them.

# %% [markdown]
# ## 2. The model
#
# The paper fine-tunes ViT-Base on Cassava for 100 epochs (SGD, learning rate 0.001, momentum 0.9) and reports an
# accuracy of 0.861. On a laptop that takes days. The next cell takes your checkpoint where there is one; else it
# fine-tunes ViT-Tiny for a minute or two, on ten photos per class: exactly the kind of model that the paper warns
# about. For the full recipes, run one of these in this notebook's folder, the first on a GPU, and name the checkpoint
# above:
#
# ```sh
# vitattn finetune cassava --data DIR --recipe paper -o runs/cassava-paper
# vitattn finetune cassava --data DIR --recipe recommended -o runs/cassava-recommended
# ```

# %%
model = va.lesson_model(data, CHECKPOINT, "recommended", MODEL, EPOCHS, PHOTOS_PER_CLASS, SEED)
print(model.describe())

# %% [markdown]
# ## 3. One photo and its map, step by step
#
# The first sick plant of the test split. One forward pass captures everything that the rest of this section needs.

# %%
sick = [i for i, label in enumerate(data.test.labels) if data.class_names[label] != "healthy"]
capture = va.capture_attention(model, data.test.load(sick[0]))
print(data.test.names[sick[0]], "shows", data.class_names[data.test.labels[sick[0]]])
capture.top(3)

# %% [markdown]
# ### Scores
#
# In each head of each layer, every token scores every token: the dot product of its query with the other's key,
# divided by the root of their width. A softmax turns a row of scores into attention, which sums to 1. We take the
# last layer and the row that the classifier reads, the class token's. The logarithm of the row gives the scores back,
# up to a constant that softmax does not see.

# %%
row = capture.attention(layer=-1)
scores = np.log(row)
print(f"{row.shape[0]} heads, {row.shape[1]} tokens; each head's row sums to {row.sum(axis=1).round(4)}")
order = np.sort(row, axis=1)[:, ::-1]
print(f"the ten strongest tokens of each head hold {order[:, :10].sum(axis=1).round(2)} of its attention")

# %% [markdown]
# ### Eq. 3: softmax over the patches alone
#
# The class token also attends to itself. That share cannot be drawn on a photo, so eq. 3 takes the softmax over the
# patch scores alone. What it leaves out is the *prefix share*: a map made of 1% of the attention would look as
# bright as one made of 90%.

# %%
weights = np.exp(scores[:, len(capture.layout.prefix) :])
by_hand = (weights / weights.sum(axis=1, keepdims=True)).reshape(-1, *capture.layout.grid)
maps = capture.patch_attention(layer=-1)
print(f"by hand and by the kit differ by at most {np.abs(by_hand - maps).max():.1e}")
print(f"prefix share by head: {capture.prefix_share().round(3)}; entropy by head:", end=" ")
print([round(va.evaluation.entropy(head), 2) for head in maps])

# %%
va.figures.heads_figure(capture)

# %% [markdown]
# ### Eq. 4: many heads become one map
#
# The paper aggregates by mean, by maximum, and by mean divided by standard deviation (eq. 4). The last one is bright
# where the heads *agree*, however little attention the patch gets: flat ground that all heads ignore alike can shine
# in it. Read it with care.

# %%
mean, std = maps.mean(axis=0), maps.std(axis=0)
ratio = va.aggregate_heads(maps, "mean_over_std")
flat = va.evaluation.flat_ground(capture.view, capture.layout.grid)
print(f"eq. 4 by hand and by the kit differ by a factor of at most {np.abs(mean / std / ratio - 1).max():.1e}")
on_flat = va.evaluation.share_on(mean, flat), va.evaluation.share_on(ratio, flat)
print(f"share on the flattest quarter of this photo: mean {on_flat[0]:.2f}, mean / std {on_flat[1]:.2f}")

# %% [markdown]
# ### Each smoothing step
#
# A map of a few squares is hard to read on a photo. The paper smooths it in three steps. Watch the small numbers
# below the panels: they are the raw values of the darkest and the brightest colour. A lesion of a few pixels is
# smaller than the disk of the median; a single bright patch does not survive it.

# %%
va.figures.smoothing_figure(capture, va.ViewSettings(aggregation="mean_over_std"))

# %% [markdown]
# ## 4. Explore
#
# Move the controls; click a patch to ask what *it* attends to; click a small map to go to its layer and head. Fifteen
# minutes, in pairs; one of you is the prosecutor, one the defender:
#
# 1. The prosecutor finds a layer and head that show the model looking at the background.
# 2. The defender finds a layer and head, on the same photo, that show it looking at the lesions.
# 3. Swap, take the next photo, and keep the layer and head that the other chose. Who is right now?

# %%
some = np.unique(np.linspace(0, len(data.test) - 1, 8).astype(int))  # evenly from all classes
explorer = va.AttentionExplorer(model, {data.test.names[i]: data.test.load(i) for i in some})
explorer

# %% [markdown]
# ## 5. The paper's figure
#
# The paper shows leaves beside mean, max and mean / std. This is the same figure for your model and data.

# %%
captures = [capture, *(va.capture_attention(model, data.test.load(i)) for i in (sick[len(sick) // 2], sick[-1]))]
va.figures.paper_figure(captures, note=data.describe())

# %% [markdown]
# ### Before and after fine-tuning
#
# The same photo through the model that the fine-tuning started from, which has not seen a single leaf. Above, each
# panel has a scale of its own; here they share one, in *times the average patch of its map*: 3 is a patch that has
# three times what the average patch of the same map has. Red in the last panel: more after fine-tuning. (If you run
# on the embedded model and the stand-in, it has no such past, and there is no difference.)

# %%
start = va.load_model(MODEL)
earlier = va.capture_attention(start, data.test.load(sick[0]))
panels = [va.Panel(capture, name="after fine-tuning"), va.Panel(earlier, name="before")]
va.figures.comparison_figure(panels, difference=True, note=data.describe())

# %% [markdown]
# ## 6. Lesion or background? The whole test split
#
# Prosecutor and defender both found what they looked for. So we measure every photo of the test split, and set the
# maps beside two baselines that know nothing of the photo: a **uniform** map, and a **blob** in the centre. A map
# that does not beat them tells you nothing that they do not.
#
# - *on the mask*: the share of the map on the lesions (of a healthy plant: on the leaf)
# - *pointing game*: how often the brightest pixel is there (Zhang et al. 2018)
# - *on the mask's outline*: the share along the edge of that region, half a patch to each side
# - *on the border*, *on flat ground*: the outermost patches, and the quarter of the patches in which brightness
#   varies least; the paper's signs of overfitting
# - *entropy*: 0, all on one patch, to 1, spread evenly; *heads agree*: 0, no patch shared, to 1, all alike

# %%
worth = va.evaluate_maps(model, data.test)
worth

# %%
va.figures.measures_figure(worth)

# %% [markdown]
# The charge first: is more of the attention on flat ground, and on the border, than of a map that knows nothing?
# Below is the difference from the uniform map, with a 95% interval over photos, and the share of the photos on which
# it is more. Where the interval contains 0, nothing has been shown.

# %%
for measure in ("flat_share", "border_share"):
    print(f"{worth.heading}; {va.evaluation.MEASURES[measure]}, more than a uniform map")
    print(worth.differences(measure).round(3), "\n")

# %% [markdown]
# Convicted? Not yet: was it the *fine-tuning*? Here are the same photos through the model from before it, as in
# section 5.

# %%
before = va.evaluate_maps(start, data.test, aggregations=["mean"]).table().loc["mean"]
after = worth.table().loc["mean"]
for measure in ("border_share", "flat_share"):
    words = f"{va.evaluation.MEASURES[measure]}, mean over heads"
    print(f"{words}: {before[measure]:.3f} before fine-tuning, {after[measure]:.3f} after it")

# %% [markdown]
# Then the paper's inference: if attention on the border or on flat ground is a sign of overfitting, wrongly
# classified photos should have more of it than correctly classified ones. Look at the differences beside the number
# of wrong photos: with few, or none, the question cannot be answered here.

# %%
known = worth.photos[worth.photos["right"].notna()]
groups = known.groupby(["map", "right"], sort=False)
print(f"right: {known.drop_duplicates('photo')['right'].mean():.1%} of {known['photo'].nunique()} photos")
groups[list(worth.table())].mean().assign(photos=groups.size()).round(3)

# %% [markdown]
# ## 7. What did the classifier use?
#
# Attention says where one token looked in one layer, and nothing about the answer. *Contributions* (Ali et al. 2022)
# divide the score of a class among the patches: hold constant what the model multiplied by, and it is linear, so that
# each patch's part can be told. Red patches speak for the answer, blue ones against it. The map that the kit recommends
# sums three such divisions. Beside it, plain attention in the same colours: it has no blue, as it cannot speak against
# anything. Sinks, where there are any, are framed: patches that draw far more attention than their neighbours do, in
# most heads. Many do so whatever the photo shows, but a small spot can look like one. The robust scale lets the
# strongest pixels saturate, so that they do not fade everything else.

# %%
used = va.ViewSettings.recommended()
capture = va.complete_capture(model, capture, used)  # one backward pass, for the predicted class
panels = [va.Panel(capture, used), va.Panel(capture, va.ViewSettings(sinks="outline"))]
va.figures.comparison_figure(panels, scale="robust", note=data.describe())

# %% [markdown]
# ### Both maps on trial
#
# Prosecutor and defender each have a map now. The witness is the model. Patches are removed from the photo, those
# that a map marks most strongly first, while we follow the probability of the answer; then they are restored on a
# blurred photo in the same order. Orders that know nothing of the model are tried beside it. Then each map is
# drawn once more with the weights of the last blocks shuffled: a map that hardly changes does not show what was
# learnt there. Last, each head of the last layer is silenced in turn. For which of the two will the answer fall
# faster?

# %%
checks = {"contributions": va.check_map(model, capture, used), "attention": va.check_map(model, capture)}
for name, check in checks.items():
    print(f"{name}: deletion {check.deletion_area():.2f}, insertion {check.insertion_area():.2f}")
    print(check.verdict, *check.sentences, sep="\n- ")

# %%
va.figures.check_figure(checks["contributions"])

# %% [markdown]
# ## 8. All maps in one table
#
# The trial was about one photo. So here are six sources beside the two baselines, on sick plants of the test split:
# attention; attention times the length of the values that it brings (*norm*, Kobayashi et al. 2020); attention
# multiplied through the layers (*rollout*, Abnar and Zuidema 2020); gradient times attention, which weighs each
# attention weight by roughly how much the score would fall without it, over the last third of the layers
# (*gradient_late*) and carried through all of them (*relevance*, both after Chefer et al. 2021); and the map of
# section 7 (*contribution_sum*). Where there are masks, the uniform row is what the lesions cover.

# %%
few = data.test.take([sick[i] for i in np.unique(np.linspace(0, len(sick) - 1, TABLE_PHOTOS).astype(int))])
sources = ["attention", "norm", "rollout", "gradient_late", "relevance", "contribution_sum"]
table = va.evaluate_maps(model, few, aggregations=["mean", "max"], sources=sources)
table

# %%
va.figures.measures_figure(table)

# %% [markdown]
# The blob in the centre is the harder baseline: it knows where people put what they photograph. (Photos without
# masks are measured on flat ground, where less is better; there the uniform row is the one to compare with.)

# %%
measure = "mass_on_mask" if "mass_on_mask" in table.table() else "flat_share"
print(f"{table.heading}; {va.evaluation.MEASURES[measure]}, more than the centre blob")
table.differences(measure, baseline="centre blob").round(3)

# %% [markdown]
# ## 9. What was in it
#
# - Attention is a row of a softmax; eq. 3 leaves the class token out, eq. 4 divides by how much heads disagree.
# - "It looks at the background" is a share, and a share means something only beside a baseline and with an interval.
# - With a free choice of layers, heads and sources, you can argue either side. Changing the photo lets the model
#   answer.
#
# ### Three questions
#
# Answer each for yourself before you open it.
#
# **1. Suppose a colleague finds red along the border in section 5: more attention there after fine-tuning. Does the
# model overfit?**
#
# <details><summary>Answer</summary>
#
# That does not follow. It is one photo; the numbers before and after fine-tuning in section 6 cover the whole split,
# so look at those first. Some patches draw attention whatever the photo shows (Darcet et al. 2023), and the published
# ViT-Tiny has its in the corners before it has seen a single leaf. Where these grow, every other share shrinks,
# because the shares of a map sum to 1. So fine-tuning may have moved attention to the border; whether that is
# overfitting is a question for training and test accuracy, and for right and wrong photos as in section 6.
#
# </details>
#
# **2. A map falls on the lesion, and the check says that it hardly changes when the weights of the last blocks are
# shuffled. What has been shown?**
#
# <details><summary>Answer</summary>
#
# That the map owes little to what these blocks have learnt. It may follow contrast or colour, which lesions have and
# which any network sees; an edge filter would fall there too. It is no evidence that the model knows the disease. And
# the other way round: a map that changes depends on the weights, which does not make it right.
#
# </details>
#
# **3. Your model is right 95% of the time, and no map in section 8 beats the centre blob on the lesions. What would
# you look at in section 7 before you use it on a farm, and what would you still have to do?**
#
# <details><summary>Answer</summary>
#
# Whether removing what a map marks hurts the answer more than removing the centre or the edge does: then the map
# shows something that the model needs, and if that is not the lesion, you know what to worry about. If nothing beats
# the centre there either, these maps do not show what is used. Then test where the easy cues are gone: photos from
# another farm, with the background exchanged, with the lesions painted over. If the answer survives painting over the
# lesions, something else was used.
#
# </details>
#
# ### What attention does not prove
#
# That a patch was attended to does not mean that it decided the answer: values, later layers and the residual stream
# decide what becomes of it. That a patch was *not* attended to does not mean that it was not used: its content may
# have come through another one. A gradient says what a small change would do, not what happens without the patch; and
# a photo with patches removed is one that the model never saw, so only the comparison of orders counts. The masks of
# the stand-in are of drawn pictures: what you measured there holds for drawn pictures.
