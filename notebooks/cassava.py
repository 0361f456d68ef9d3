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
# **What you'll do.** Load photos of healthy and diseased cassava leaves. Take a Vision Transformer that tells five
# conditions apart. Follow one photo from the scores to the finished map. Explore heads and layers by hand. Draw the
# paper's figure. Then measure, over the whole test split, how much of the attention lies on lesions, on the border
# and on flat ground, and whether that has to do with being right.
#
# **What you'll learn.** What eq. 3 and eq. 4 of Calderaro et al. (2023) compute, how to turn "it looks at the
# background" into a number with an interval, and why such a number alone does not tell a good model from a bad one.
#
# **What you need.** About 75 minutes (read and run 25, explore 20, measure and discuss 30), this kit, two CPU cores.
# No network: without the photos you get a stand-in, without the weights the embedded model; a printed line says so.

# %% [markdown]
# ## Parameters
#
# The only cell to change. Everything below follows from it.

# %% tags=["parameters"]
DATA = None  # folder with cbb, cbsd, cgm, cmd and healthy; None looks in $VITATTN_DATA/cassava, else takes the stand-in
CHECKPOINT = "runs/cassava-recommended/best.safetensors"  # used where it exists
MODEL = "vit_tiny_patch16_224"  # published weights that are fine-tuned where there is no checkpoint
EPOCHS = 3  # of the quick fine-tuning
PHOTOS_PER_CLASS = 10  # that it learns from: few, on purpose
MADE = (40, 10, 40)  # size of the stand-in: pictures a class for training, validation and test
SEED = 0  # of the split, the made pictures and the fine-tuning

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
va.photos_figure(data.train, per_class=2)

# %% [markdown]
# A cyan line, where there is one, is ground truth: it surrounds the lesions, and on a healthy leaf the leaf, for
# there all of it is the evidence. Only the stand-in has such masks, since its pictures are drawn by code. The model
# never sees them.

# %% [markdown]
# ## 2. The model
#
# The paper fine-tunes ViT-Base on Cassava for 100 epochs (SGD, learning rate 0.001, momentum 0.9) and reports an
# accuracy of 0.861. On a laptop that takes days. The next cell takes your checkpoint where there is one; else it
# fine-tunes ViT-Tiny for a minute or two, on ten photos a class: just the kind of model that the paper warns of. For
# the full recipes, run one of these in this notebook's folder, the first on a GPU, and name the checkpoint above:
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
# patch scores alone. What it leaves out is the *prefix share*: a map made of 1 % of the attention would look as
# bright as one made of 90 %.

# %%
weights = np.exp(scores[:, len(capture.layout.prefix) :])
by_hand = (weights / weights.sum(axis=1, keepdims=True)).reshape(-1, *capture.layout.grid)
maps = capture.patch_attention(layer=-1)
print(f"by hand and by the kit differ by at most {np.abs(by_hand - maps).max():.1e}")
print(f"prefix share by head: {capture.prefix_share().round(3)}; entropy by head:", end=" ")
print([round(va.entropy(head), 2) for head in maps])

# %%
va.heads_figure(capture)

# %% [markdown]
# ### Eq. 4: many heads become one map
#
# The paper aggregates by mean, by maximum, and by mean divided by standard deviation (eq. 4). The last one is bright
# where the heads *agree*, however little attention the patch gets: flat ground that all heads ignore alike can shine
# in it. Read it with care.

# %%
mean, std = maps.mean(axis=0), maps.std(axis=0)
ratio = va.aggregate_heads(maps, "mean_over_std")
flat = va.flat_ground(capture.view, capture.layout.grid)
print(f"eq. 4 by hand and by the kit differ by a factor of at most {np.abs(mean / std / ratio - 1).max():.1e}")
on_flat = va.share_on(mean, flat), va.share_on(ratio, flat)
print(f"share on the flattest quarter of this photo: mean {on_flat[0]:.2f}, mean / std {on_flat[1]:.2f}")

# %% [markdown]
# ### Each smoothing step
#
# A map of a few squares is hard to read on a photo. The paper smooths it in three steps. Watch the small numbers
# below the panels: they are the raw values of the darkest and the brightest colour. A lesion of a few pixels is
# smaller than the disk of the median; a single bright patch does not survive it.

# %%
va.smoothing_figure(capture, va.ViewSettings(aggregation="mean_over_std"))

# %% [markdown]
# ## 4. Explore
#
# Move the controls; click a patch to ask what *it* attends to; click a small map to go to its layer and head. Twenty
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
captures = [va.capture_attention(model, data.test.load(i)) for i in (sick[0], sick[len(sick) // 2], sick[-1])]
va.paper_figure(captures, note=data.describe())

# %% [markdown]
# ## 6. Lesion or background? The whole test split
#
# Prosecutor and defender both found what they looked for. So we measure every photo of the test split, and put two
# baselines beside the maps that know nothing of the photo: a **uniform** map, and a **blob** in the centre. A map
# that does not beat them tells you nothing that they do not.
#
# - *on the evidence*: the share of the map on the lesions (of a healthy plant: on the leaf)
# - *pointing game*: how often the brightest pixel lies there (Zhang et al. 2018)
# - *on its outline*: the share along the edge of that region, half a patch to each side
# - *on the border*, *on flat ground*: the outermost patches, and the quarter of the patches in which brightness
#   varies least; the paper's signs of overfitting
# - *entropy*: 0, all on one patch, to 1, spread evenly; *heads agree*: 0, no patch shared, to 1, all alike

# %%
worth = va.evaluate_maps(model, data.test)
worth

# %%
va.measures_figure(worth)

# %% [markdown]
# The charge first: does more of the attention lie on flat ground, and on the border, than of a map that knows
# nothing? The difference from the uniform map, with a 95 % interval over photos, and on what share of the photos it
# is more. An interval that contains 0 means: not shown.

# %%
print(worth.heading, "; on flat ground, more than a uniform map", sep="")
worth.differences("flat").round(3)

# %%
print(worth.heading, "; on the border, more than a uniform map", sep="")
worth.differences("border").round(3)

# %% [markdown]
# Convicted? Not yet: was it the *fine-tuning*? The same photos through the model that it started from, which has not
# seen a single leaf. (If you run on the embedded model, it has no such past, and the two lines are equal.)

# %%
start, _ = va.load_model_or_demo(MODEL)
before = va.evaluate_maps(start, data.test, aggregations=["mean"]).table().loc["mean"]
after = worth.table().loc["mean"]
print(f"border, mean over heads:      {before['border']:.3f} before fine-tuning, {after['border']:.3f} after it")
print(f"flat ground, mean over heads: {before['flat']:.3f} before fine-tuning, {after['flat']:.3f} after it")

# %% [markdown]
# Then the defence: the lesions, disease by disease. The uniform column is what the lesions cover. Where there are no
# masks, the table is of flat ground.

# %%
measure = "mass" if "mass" in worth.table() else "flat"
print(f"{worth.heading}; {va.MEASURES[measure]}")
worth.photos.pivot_table(index="label", columns="map", values=measure, sort=False).round(3)

# %% [markdown]
# Last, the paper's inference: if attention on the border or on flat ground is a sign of overfitting, wrongly told
# photos should have more of it than rightly told ones. Look at the differences beside the number of wrong photos:
# with few, or none, the question cannot be answered here.

# %%
known = worth.photos[worth.photos["right"].notna()]
groups = known.groupby(["map", "right"], sort=False)
print(f"right: {known.drop_duplicates('photo')['right'].mean():.1%} of {known['photo'].nunique()} photos")
groups[list(worth.table())].mean().assign(photos=groups.size()).round(3)

# %% [markdown]
# ## 7. What was in it
#
# - Attention is a row of a softmax; eq. 3 leaves the class token out, eq. 4 divides by how much heads disagree.
# - "It looks at the background" is a share, and a share means something beside a baseline and with an interval.
# - Layers, heads and aggregations differ so much that whoever chooses among them can argue either side.
#
# ### Three questions
#
# Answer each for yourself before you open it.
#
# **1. The mean over heads has 40 % of its mass on the border, the uniform map 27 %. Does the model overfit?**
#
# <details><summary>Answer</summary>
#
# That does not follow. Some patches draw attention whatever the photo shows (Darcet et al. 2023), and the published
# ViT-Tiny has its in the corners before it has seen a single leaf. To blame the fine-tuning, compare before and after
# it, as above. To show overfitting, compare training and test accuracy.
#
# </details>
#
# **2. Wrongly told photos have 3 points more on flat ground than rightly told ones, and there are eight of them. What
# do you report?**
#
# <details><summary>Answer</summary>
#
# The number, the eight, and an interval, which will very likely contain 0. And that it would not say which caused
# which: a photo with little leaf on it has more flat ground to look at, and is harder.
#
# </details>
#
# **3. Your model is right 95 % of the time and none of its maps beats the centre blob on the lesions. Would you use
# it on a farm?**
#
# <details><summary>Answer</summary>
#
# Not for that reason alone, and not against it for that reason alone. The maps do not show what the model uses. Test
# it where the easy cues are gone: photos from another farm, with the background exchanged, with the lesions painted
# over. If the answer survives painting over the lesions, something else was used.
#
# </details>
#
# ### What attention does not prove
#
# That a patch was attended to does not mean that it decided the answer: values, later layers and the residual stream
# decide what becomes of it. That a patch was *not* attended to does not mean that it was not used: it may have come
# by way of another one. Some patches draw attention whatever the photo shows. And the masks of the stand-in are of
# made pictures: what you measured there holds for made pictures. Whether a map marks what the model *used* is tested
# by changing the photo, not by looking harder at the map.
