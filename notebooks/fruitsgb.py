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
# # FruitsGB: does the attention lie on the blemish, or on the fruit's outline?
#
# A fruit is bad because of a spot. A model that tells good from bad fruit should look at the spot. It could also get
# by with the outline, the colour of the ground, or a corner of the photo. This notebook measures which it is.
#
# **What you'll do.** Load photos of good and bad fruit. Take a Vision Transformer that distinguishes the two. Follow
# one photo from the scores to the finished map. Explore heads and layers by hand. Draw the paper's figure. Measure,
# over the whole test split, how much of the attention lies on the blemish. Then ask what the classifier used, and put
# the answer to the test.
#
# **What you'll learn.** What eq. 3 and eq. 4 of Calderaro et al. (2023) compute, what each smoothing step changes,
# and why a map must stand beside a baseline, beside other maps on one scale, and a test before you believe it.
#
# **What you need.** About 80 minutes (read and run 30, explore 15, measure and discuss 35), this kit, two CPU cores.
# No network is needed: where the photos are missing you get a stand-in, where the weights are missing the embedded
# model, and a printed line says so.

# %% [markdown]
# ## Parameters
#
# The only cell to change. Everything below follows from it.

# %% tags=["parameters"]
DATA = None  # folder that holds the class folders; None looks in $VITATTN_DATA/fruitsgb, else takes the stand-in
CHECKPOINT = "runs/fruitsgb-recommended/best.safetensors"  # used where it exists
MODEL = None  # a timm name, which is fine-tuned where there is no checkpoint; None is ViT-Tiny
EPOCHS = 2  # of the quick fine-tuning
PHOTOS_PER_CLASS = 40  # that it learns from
MADE = (40, 10, 20)  # size of the stand-in: pictures per class for training, validation and test
TABLE_PHOTOS = 40  # the last table covers at most this many photos of bad fruit
SEED = 0  # of the split, the drawn pictures and the fine-tuning

# %%
# %matplotlib inline
import numpy as np

import vitattn_widgets as va

# %% [markdown]
# ## 1. The data at a glance
#
# FruitsGB (Meshram et al. 2020) has 12,000 photos of six kinds of Indian fruit, each good or bad. Before you look at
# any map: where would *you* look to tell good from bad? Decide for three of the pictures, and write it down.

# %%
data = va.load_dataset("fruitsgb", DATA, seed=SEED, per_class=MADE)
print(data.describe())
va.figures.photos_figure(data.test)

# %% [markdown]
# A cyan line, where there is one, is ground truth: on a bad fruit it surrounds the blemishes, on a good one the whole
# fruit, because there all of the skin is evidence. Only the stand-in has such masks, since its pictures are drawn by
# code; real photos of fruit come without. The model never sees them.

# %% [markdown]
# ## 2. The model
#
# The paper fine-tunes ViT-Tiny on FruitsGB: Adam, learning rate 0.001, batch 32, 20 epochs, and reports an accuracy
# of 0.96. That takes longer than a lesson. The next cell takes your checkpoint where there is one; else it fine-tunes
# for a minute or two. For the full recipes, run one of these in this notebook's folder and name the checkpoint above:
#
# ```sh
# vitattn finetune fruitsgb --data DIR --recipe paper -o runs/fruitsgb-paper
# vitattn finetune fruitsgb --data DIR --recipe recommended -o runs/fruitsgb-recommended
# ```

# %%
model = va.lesson_model(data, CHECKPOINT, "recommended", MODEL, EPOCHS, PHOTOS_PER_CLASS, SEED)
print(model.describe())

# %% [markdown]
# ## 3. One photo and its map, step by step
#
# The first bad fruit of the test split. One forward pass captures everything that the rest of this section needs.

# %%
kinds = [data.class_names[label].lower() for label in data.test.labels]
bad, good = ([i for i, kind in enumerate(kinds) if word in kind] for word in ("bad", "good"))
capture = va.capture_attention(model, data.test.load(bad[0]))
print(data.test.names[bad[0]], "is a", kinds[bad[0]])
capture.top(3)

# %% [markdown]
# ### Scores
#
# In each head of each layer, every token scores every token: the dot product of its query with the other's key,
# divided by the root of their width. A softmax turns a row of scores into attention, which sums to 1. We take the
# last layer and the class token's row, because that is what the classifier reads. The logarithm of the row gives the
# scores back, up to a constant that softmax does not see.

# %%
row = capture.attention(layer=-1)
scores = np.log(row)
print(f"{row.shape[0]} heads, {row.shape[1]} tokens; each head's row sums to {row.sum(axis=1).round(4)}")
print(f"scores differ by up to {np.ptp(scores, axis=1).round(1)} within a head")

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
agreement = va.evaluation.head_agreement(maps)
print(f"prefix share by head: {capture.prefix_share().round(3)}; the heads agree: {agreement:.2f}")

# %%
va.figures.heads_figure(capture)

# %% [markdown]
# ### Eq. 4: many heads become one map
#
# The paper aggregates by mean, by maximum, and by mean divided by standard deviation (eq. 4). The last one is bright
# where the heads *agree*, however little attention the patch gets. Read it with care.

# %%
mean, std = maps.mean(axis=0), maps.std(axis=0)
ratio = va.aggregate_heads(maps, "mean_over_std")
print(f"eq. 4 by hand and by the kit differ by a factor of at most {np.abs(mean / std / ratio - 1).max():.1e}")
print(
    f"{np.corrcoef(mean.ravel(), ratio.ravel())[0, 1]:.2f} is the correlation of mean with mean / std over the patches"
)

# %% [markdown]
# ### Each smoothing step
#
# A map of a few squares is hard to read on a photo. The paper smooths it in three steps. Watch the small numbers
# below the panels: they are the raw values of the darkest and the brightest colour.

# %%
va.figures.smoothing_figure(capture, va.ViewSettings(aggregation="max"))

# %% [markdown]
# ## 4. Explore
#
# Move the controls; click a patch to ask what *it* attends to; click a small map to go to its layer and head. Fifteen
# minutes, in pairs:
#
# 1. Find a head and a layer whose map you would show as proof that the model sees the blemish.
# 2. Keep head and layer. Go through the other photos. On how many does your proof hold?
# 3. Find a patch that is bright on *every* photo. What could it be good for?

# %%
explorer = va.AttentionExplorer(model, {data.test.names[i]: data.test.load(i) for i in bad[:4] + good[:2]})
explorer

# %% [markdown]
# ## 5. The paper's figure
#
# The paper shows fruit beside mean, max and mean / std. This is the same figure for your model and data.

# %%
captures = [capture, *(va.capture_attention(model, data.test.load(i)) for i in (bad[1], good[0]))]
va.figures.paper_figure(captures, note=data.describe())

# %% [markdown]
# ### Side by side, on one scale
#
# Above, each panel has a scale of its own: two equally bright spots need not be equally strong. Below, all panels
# share one, in *times the average patch of its map*: 3 is a patch that has three times what the average patch of the
# same map has, whatever that map is made of.

# %%
ways = [va.ViewSettings(aggregation=aggregation) for aggregation in va.AGGREGATIONS]
va.figures.comparison_figure([va.Panel(capture, way) for way in ways], note=data.describe())

# %%
for way in ways:
    grid = va.render_view(capture, way).grid_map
    brightest = grid.max() / grid.mean()
    print(f"{way.aggregation}: the brightest patch has {brightest:.1f} times the average, before smoothing")

# %% [markdown]
# ## 6. Blemish or outline? The whole test split
#
# One figure proves nothing, and neither did your discovery in section 4: you searched for it. So we measure every
# photo of the test split, and set the maps beside two baselines that know nothing of the photo: a **uniform** map,
# and a **blob** in the centre. A map that does not beat them tells you nothing that they do not.
#
# - *on the mask*: the share of the map on the blemishes (of a good fruit: on the fruit)
# - *pointing game*: how often the brightest pixel is there (Zhang et al. 2018)
# - *on the mask's outline*: the share along the edge of that region, half a patch to each side
# - *on the border*, *on flat ground*: the outermost patches, and the quarter of the patches in which brightness
#   varies least; the paper reads attention there as a sign of overfitting
# - *entropy*: 0, all on one patch, to 1, spread evenly; *heads agree*: 0, no patch shared, to 1, all alike

# %%
worth = va.evaluate_maps(model, data.test)
worth

# %%
va.figures.measures_figure(worth)

# %% [markdown]
# Now the bad fruit alone, where the evidence is the blemish. The table says how much *more* of each map is there than
# of the uniform map, with a 95% interval over photos, and the share of the photos on which it is more. Where the
# interval contains 0, nothing has been shown. Photos without masks are measured on flat ground instead, where less is
# better.

# %%
measure = "mass_on_mask" if "mass_on_mask" in worth.table() else "flat_share"
on_bad = worth.only(worth.photos["label"].str.contains("bad", case=False), "bad fruit")
print(f"{on_bad.heading}; {va.evaluation.MEASURES[measure]}, more than a uniform map")
on_bad.differences(measure).round(3)

# %% [markdown]
# And the outline: on good fruit the evidence is the whole fruit, so its edge is the fruit's outline. Compare its row
# with the uniform map's. A model that reads silhouettes has clearly more there. (Without masks, compare the border
# instead.)

# %%
on_good = worth.only(worth.photos["label"].str.contains("good", case=False), "good fruit")
on_good

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
# Where attention is strong and the first map pale, the model looked, but by this measure the answer owes little to it.
#
# ### Is this map worth anything?
#
# Now the photo is changed. Its patches are removed, those that the map marks most strongly first, while we follow the
# probability of the answer; then they are restored on a blurred photo in the same order. Orders that know
# nothing of the model are tried beside it. Then the same map is drawn once more with the weights of the last blocks
# shuffled, and each head of the last layer is silenced in turn. Guess before you run it: for which of the two maps
# will the answer fall faster?

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
# The check was on one photo. So here are six sources beside the two baselines, on photos of bad fruit from the test
# split: attention; attention times the length of the values that it brings (*norm*, Kobayashi et al. 2020); attention
# multiplied through the layers (*rollout*, Abnar and Zuidema 2020); gradient times attention, which weighs each
# attention weight by roughly how much the score would fall without it, over the last third of the layers
# (*gradient_late*) and carried through all of them (*relevance*, both after Chefer et al. 2021); and the map of
# section 7 (*contribution_sum*).

# %%
few = data.test.take([bad[i] for i in np.unique(np.linspace(0, len(bad) - 1, TABLE_PHOTOS).astype(int))])
sources = ["attention", "norm", "rollout", "gradient_late", "relevance", "contribution_sum"]
table = va.evaluate_maps(model, few, aggregations=["mean", "max"], sources=sources)
table

# %%
va.figures.measures_figure(table)

# %% [markdown]
# The blob in the centre is the harder baseline: it knows where people put what they photograph. (Photos without
# masks are measured on flat ground, where less is better; there the uniform row is the one to compare with.)

# %%
print(f"{table.heading}; {va.evaluation.MEASURES[measure]}, more than the centre blob")
table.differences(measure, baseline="centre blob").round(3)

# %% [markdown]
# ## 9. What was in it
#
# - Attention is a row of a softmax; eq. 3 leaves the class token out, eq. 4 divides by how much heads disagree.
# - Colours of two panels can be compared only on one scale, and then in its unit.
# - Where a map falls is measured over a split, beside baselines. Whether the model used it is tested by changing the
#   photo.
#
# ### Three questions
#
# Answer each for yourself before you open it.
#
# **1. You show max on a slide, once from the paper's figure and once from the comparison in section 5. What may your
# audience read from its colours each time?**
#
# <details><summary>Answer</summary>
#
# From the paper's figure: where this map is strong and where it is weak, and nothing about its neighbours, because
# each panel runs from its own smallest to its own largest value. From the comparison: also whether it is stronger
# here than the mean, in times the average patch of each map. Neither says how much attention there is: a maximum over
# heads is no share of anything, which is why every map is divided by its own average first.
#
# </details>
#
# **2. Find the map of section 8 that has the most on the blemishes, and the map of section 7 for which the answer
# falls faster (the smaller deletion area). Must they be the same?**
#
# <details><summary>Answer</summary>
#
# No. The table asks whether a map agrees with us about where the blemish is; the check asks whether it agrees with
# the model about what counts. If a model gets by with the outline, an honest map of it falls on the outline: bad in
# the table, good in the check. Only a map that does well in both, and better than the baselines, speaks for the
# blemish. Deletion and insertion need not agree either: one starts from the whole photo, the other from a blurred
# one. And the check was on one photo: before you report it, repeat it on others.
#
# (Photos without masks have no column for the blemish. Then the table cannot ask its question at all, and the check
# still can.)
#
# </details>
#
# **3. Suppose the model is right on nearly every bad fruit, and little of its attention in the last layer is on the
# blemish. How can both be true, and what in section 7 would show it?**
#
# <details><summary>Answer</summary>
#
# The class token may have gathered the spot in an earlier layer, or through other patches that had picked it up
# before; the residual stream carries it on. Then the map summed over the late layers can have more there than the
# last layer's attention: red on the spot in the difference. If it does not, cover the spot. If the answer stays,
# something else was used, and no map of the spot would have been true.
#
# </details>
#
# ### What attention does not prove
#
# That a patch was attended to does not mean that it decided the answer: values, later layers and the residual stream
# decide what becomes of it. That a patch was *not* attended to does not mean that it was not used: its content may
# have come through another one. Some patches draw attention whatever the photo shows. A gradient says what a small
# change would do, not what happens without the spot; and a photo with patches removed is one that the model never
# saw, so only the comparison of orders counts. The masks of the stand-in are of drawn pictures: what you measured
# there holds for drawn pictures.
