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
# # ImageNet: does the attention lie on the object?
#
# A photo of a fish is called a fish. Did the model look at the fish, or at the hand that holds it, or at neither?
# This notebook follows attention through all layers of a Vision Transformer that was trained on ImageNet, and
# measures where it lies.
#
# **What you'll do.** Load photos of objects. Take a published model, with a small layer on top for ten classes, as in
# the paper. Follow one photo from the scores to the finished map. Explore heads and layers by hand. Draw the paper's
# figure. Measure, layer by layer and over the whole test split, how much of the attention lies on the object. Then ask
# what the classifier used for one class and not for another, and put the answer to the test.
#
# **What you'll learn.** What eq. 3 and eq. 4 of Calderaro et al. (2023) compute, what an attention sink is and how to
# find one, in which layers attention follows the object, if in any, and what attention cannot answer.
#
# **What you need.** About 80 minutes (read and run 30, explore 15, measure and discuss 35), this kit, two CPU cores.
# No network is needed: where the photos are missing you get a stand-in, where the weights are missing the embedded
# model, and a printed line says so.

# %% [markdown]
# ## Parameters
#
# The only cell to change. Everything below follows from it.

# %% tags=["parameters"]
DATA = None  # folder with ImageNet photos or Imagenette; None looks in $VITATTN_DATA/imagenet, else takes the stand-in
CHECKPOINT = "runs/imagenet-paper/best.safetensors"  # used where it exists
MODEL = None  # a timm name, which gets a further layer where there is no checkpoint; None is ViT-Tiny
EPOCHS = 3  # of the quick fine-tuning
PHOTOS_PER_CLASS = 40  # that it learns from
MADE = (40, 10, 20)  # size of the stand-in: pictures per class for training, validation and test
LAYER_PHOTOS = 60  # section 7 goes through all layers for at most this many test photos
TABLE_PHOTOS = 40  # section 9 compares all maps on at most this many test photos
SEED = 0  # of the split, the drawn pictures and the fine-tuning

# %%
# %matplotlib inline
import numpy as np

import vitattn_widgets as va

# %% [markdown]
# ## 1. The data at a glance
#
# ImageNet has 1,000 classes; the paper works with ten. For ten that anyone may download,
# `va.load_dataset("imagenet", data=FOLDER, download=True)` fetches Imagenette. Before you look at any map: how much
# of each picture is the object? Estimate it for three of them, and write the shares down. You'll need them in section
# 6.

# %%
data = va.load_dataset("imagenet", DATA, seed=SEED, per_class=MADE)
print(data.describe())
va.figures.photos_figure(data.train)

# %% [markdown]
# A cyan line, where there is one, is ground truth: it surrounds the object. The stand-in has such masks, since its
# pictures are drawn by code; ImageNet has boxes where its `Annotations` are beside the photos. The model never sees
# them.

# %% [markdown]
# ## 2. The model
#
# The paper puts a further layer of ten classes on top of ImageNet's classifier. The kit's version of that recipe
# trains this layer alone, so everything below it is the published model, and so are all maps: whatever you see here
# was there before fine-tuning. The next cell takes your checkpoint where there is one; else it trains the layer for a
# minute or two. Where the photos are too few to learn from, it takes the published model as it is. For the full
# recipes, run one of these in this notebook's folder and name the checkpoint above:
#
# ```sh
# vitattn finetune imagenet --data DIR --recipe paper -o runs/imagenet-paper
# vitattn finetune imagenet --data DIR --recipe recommended -o runs/imagenet-recommended
# ```

# %%
model = va.lesson_model(data, CHECKPOINT, "paper", MODEL, EPOCHS, PHOTOS_PER_CLASS, SEED)
print(model.describe())

# %% [markdown]
# ## 3. One photo and its map, step by step
#
# A photo of the test split. One forward pass captures everything that the rest of this section needs.

# %%
some = data.test.take(np.unique(np.linspace(0, len(data.test) - 1, 32).astype(int)))  # evenly from all classes
photo = some.load(0)
capture = va.capture_attention(model, photo)
print(some.names[0], "shows:", data.class_names[some.labels[0]])
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
print(f"in head 0 the highest score is {np.ptp(scores[0]):.1f} above the lowest: {np.exp(np.ptp(scores[0])):.0f} times")

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
print(f"prefix share by head: {capture.prefix_share().round(3)}; by layer, averaged over heads:")
print(np.array([capture.prefix_share(layer).mean() for layer in range(capture.num_layers)]).round(2))

# %%
va.figures.heads_figure(capture)

# %% [markdown]
# ### Eq. 4: many heads become one map
#
# The paper aggregates by mean, by maximum, and by mean divided by standard deviation (eq. 4). The last one is bright
# where the heads *agree*, however little attention the patch gets: a patch that every head ignores equally scores
# high. Read it with care.

# %%
mean, std = maps.mean(axis=0), maps.std(axis=0)
ratio = va.aggregate_heads(maps, "mean_over_std")
print(f"eq. 4 by hand and by the kit differ by a factor of at most {np.abs(mean / std / ratio - 1).max():.1e}")
bright = np.unravel_index(ratio.argmax(), ratio.shape)
print(f"brightest by eq. 4: patch {tuple(map(int, bright))}, with {mean[bright]:.2%} of the attention")

# %% [markdown]
# ### Each smoothing step
#
# A map of a few squares is hard to read on a photo. The paper smooths it in three steps. Watch the small numbers
# below the panels: they are the raw values of the darkest and the brightest colour.

# %%
va.figures.smoothing_figure(capture, va.ViewSettings(layer=-1, aggregation="mean"))

# %% [markdown]
# ## 4. Explore
#
# Move the controls; click a patch to ask what *it* attends to; click a small map to go to its layer and head. Fifteen
# minutes, in pairs:
#
# 1. Start in layer 0 and go up. What do the heads of the first layers look at? When does the object appear?
# 2. Find the patches that are bright in the last layer on *every* photo. Click one: what does it attend to?
# 3. Set the scale to *robust*, which lets the brightest pixels saturate. What did the scale of the whole map hide?

# %%
every = max(1, len(some) // 8)
explorer = va.AttentionExplorer(model, {some.names[i]: some.load(i) for i in range(0, len(some), every)})
explorer

# %% [markdown]
# ## 5. The paper's figure
#
# The paper shows ImageNet photos beside mean, max and mean / std. This is the same figure for your model and data.

# %%
captures = [va.capture_attention(model, some.load(i)) for i in range(3)]
va.figures.paper_figure(captures, note=data.describe())

# %% [markdown]
# ### Sinks
#
# Some patches draw attention whatever the photo shows (Darcet et al. 2023); they are called *sinks*. They are easy to
# find: average the maps of many different photos. What belongs to the objects averages out; what remains belongs to
# the model. Look at the four corners first.

# %%
batches = va.capture_rows(model, [some.load(i) for i in range(len(some))])
average = np.concatenate([rows.patch_attention(-1).mean(axis=1) for rows in batches]).mean(axis=0)
corners = average[[0, 0, -1, -1], [0, -1, 0, -1]].sum()
print(f"corner patches: {corners:.1%} of the attention of {len(some)} photos, {4 / average.size:.1%} of the patches")
print(f"brightest patch of the average: row and column {tuple(map(int, np.argwhere(average == average.max())[0]))}")

# %% [markdown]
# For one photo the kit finds them by a rule (`va.find_sinks` states it), frames them and can leave them out. A small
# object that everything looks at fits the rule too; only other photos can show the difference. The next figure has
# both panels on one scale, in *times the average patch of its map*: 3 is a patch that has three times what the
# average patch of the same map has. The last panel is their difference.

# %%
print(f"sink patches by the kit's rule in this photo: {va.find_sinks(capture).sum()}")
panels = [va.Panel(capture, va.ViewSettings(sinks=sinks)) for sinks in ("leave_out", "outline")]
va.figures.comparison_figure(panels, difference=True, note=data.describe())

# %% [markdown]
# ## 6. On the object? The whole test split
#
# One figure proves nothing, and neither does a discovery from section 4: you searched for it. So we measure every
# photo of the test split, and set the maps beside two baselines that know nothing of the photo: a **uniform** map,
# and a **blob** in the centre. A map that does not beat them tells you nothing that they do not.
#
# - *on the mask*: the share of the map on the object; the uniform row is the object's share of the picture, which you
#   estimated in section 1
# - *pointing game*: how often the brightest pixel is on the object (Zhang et al. 2018)
# - *on the mask's outline*: the share along the object's edge, half a patch to each side
# - *on the border*, *on flat ground*: the outermost patches, and the quarter of the patches in which brightness
#   varies least; the paper reads attention there as a sign of overfitting
# - *entropy*: 0, all on one patch, to 1, spread evenly; *heads agree*: 0, no patch shared, to 1, all alike

# %%
worth = va.evaluate_maps(model, data.test)
worth

# %%
va.figures.measures_figure(worth)

# %% [markdown]
# How much *more* of each map is on the object than of the uniform map, with a 95% interval over photos, and the
# share of the photos on which it is more. Where the interval contains 0, nothing has been shown. Photos without masks
# are measured on the border instead, where less is better.

# %%
measure = "mass_on_mask" if "mass_on_mask" in worth.table() else "border_share"
print(f"{worth.heading}; {va.evaluation.MEASURES[measure]}, more than a uniform map")
worth.differences(measure).round(3)

# %% [markdown]
# ## 7. In which layer?
#
# The last layer is what people show. Is it the one that follows the object best? The curves go through all layers,
# for the mean over the heads.

# %%
spread = data.test.take(np.unique(np.linspace(0, len(data.test) - 1, LAYER_PHOTOS).astype(int)))
layers = va.evaluate_maps(model, spread, layers=range(capture.num_layers), aggregations=["mean"])
va.figures.layers_figure(layers)

# %%
by_layer = layers.table().xs("mean", level="map")[measure]
print(
    f"{va.evaluation.MEASURES[measure]}, mean over heads: highest in layer {by_layer.idxmax()} "
    f"({by_layer.max():.3f}), ",
    end="",
)
print(f"lowest in layer {by_layer.idxmin()} ({by_layer.min():.3f}), last layer {by_layer.iloc[-1]:.3f}")

# %% [markdown]
# ## 8. What did the classifier use?
#
# Attention says where one token looked, and nothing about the answer. Other sources of a map weigh it: *norm* by the
# length of the values that it brings (Kobayashi et al. 2020); *rollout* multiplies it through the layers (Abnar and
# Zuidema 2020); *gradient times attention* weighs it by roughly how much the score of a class would fall without it,
# here summed over the last third of the layers; *relevance* carries that through all layers (Chefer et al. 2021). All
# five of one photo, on one scale, the robust one: it lets the brightest pixels saturate, so that a few sinks do not
# darken everything else.

# %%
ways = [va.ViewSettings(source=source) for source in ("attention", "norm", "rollout", "gradient_late", "relevance")]
for way in ways:
    capture = va.complete_capture(model, capture, way)
va.figures.comparison_figure([va.Panel(capture, way) for way in ways], scale="robust", note=data.describe())

# %% [markdown]
# The last two belong to a class. *Contributions* go further (Ali et al. 2022): hold constant what the model multiplied
# by, and it is linear, so that the score of a class can be divided among the patches, for it (red) and against it
# (blue). So they can be asked: why this class and not that one? Here are the two most probable classes, and the
# difference.

# %%
panels = []
for target in map(int, np.argsort(-capture.probabilities)[:2]):
    panel = va.ViewSettings(source="contribution_sum", target=target)
    capture = va.complete_capture(model, capture, panel)
    panels.append(va.Panel(capture, panel))
va.figures.comparison_figure(panels, difference=True, note=data.describe())

# %% [markdown]
# ### Is this map worth anything?
#
# Now the photo is changed. Its patches are removed, those that the map marks most strongly first, while we follow the
# probability of the class; then they are restored on a blurred photo in the same order. Orders that know
# nothing of the model are tried beside it. Then the same map is drawn once more with the weights of the last blocks
# shuffled, and each head of the last layer is silenced in turn. The recommended settings are contributions, summed
# over three divisions of the score; beside them the paper's map. Guess first: for which of the two will the class fall
# faster?

# %%
used = va.ViewSettings.recommended()
checks = {"contributions": va.check_map(model, capture, used), "attention": va.check_map(model, capture)}
for name, check in checks.items():
    print(f"{name}: deletion {check.deletion_area():.2f}, insertion {check.insertion_area():.2f}")
    print(check.verdict, *check.sentences, sep="\n- ")

# %%
va.figures.check_figure(checks["contributions"])

# %% [markdown]
# ## 9. All maps in one table
#
# The check was on one photo. So here are six sources beside the two baselines, over test photos from all
# classes.

# %%
few = data.test.take(np.unique(np.linspace(0, len(data.test) - 1, TABLE_PHOTOS).astype(int)))
sources = [*(way.source for way in ways), "contribution_sum"]
table = va.evaluate_maps(model, few, aggregations=["mean", "max"], sources=sources)
table

# %%
va.figures.measures_figure(table)

# %% [markdown]
# The blob in the centre is the harder baseline: it knows where people put what they photograph. (Photos without
# masks are measured on the border, where the blob has little by its shape; there compare with the uniform row.)

# %%
print(f"{table.heading}; {va.evaluation.MEASURES[measure]}, more than the centre blob")
table.differences(measure, baseline="centre blob").round(3)

# %% [markdown]
# ## 10. What was in it
#
# - Attention is a row of a softmax; eq. 3 leaves the class token out, eq. 4 divides by how much heads disagree.
# - Sinks are the model's, not the photo's. Say which layer you show, what its sinks hold, and on which scale.
# - Plain attention does not know the class. Where a map falls is measured over a split, beside baselines; whether the
#   model used it is tested by changing the photo.
#
# ### Three questions
#
# Answer each for yourself before you open it.
#
# **1. In the row of five maps in section 8, two panels have the same colour on the same patch, short of the
# brightest. Has that patch the same share of both maps? Does it then matter equally?**
#
# <details><summary>Answer</summary>
#
# The first is true, up to smoothing: all panels have one scale, in times the average patch of each map, and the maps
# have equally many patches. (For the brightest colour it need not be, because there the robust scale saturates.) The
# second does not follow: one is a share of attention, the other a share of attention times gradient, or of a product
# of layers. The scale makes shares comparable, not what they are shares of.
#
# </details>
#
# **2. Draw the two panels of "why this class and not that one" with plain attention instead. What will their
# difference be, and what does that say about a caption such as "the model saw the fish"?**
#
# <details><summary>Answer</summary>
#
# Zero, at every patch: no class enters plain attention, norm or rollout. The same map would stand under "fish" and
# under "cup". And with the recipe *paper*, where only the layer on top of the classifier learns, it is also the map
# of the published model, before it had heard of your classes. (The recommended recipe trains every weight.) The
# caption may still be true; the map is not what shows it.
#
# </details>
#
# **3. A check says: removing first what the map marks hurts the class more than removing patches at random, but no
# more than removing the centre. What has the map told you about this photo?**
#
# <details><summary>Answer</summary>
#
# That what it marks matters, but no more than the middle of the photo does: the object may simply be there. The
# centre plays the same part in the check as the centre blob in the table. Take photos whose object is elsewhere, and
# see whether the map follows it. And remember what was tested: a photo with patches removed is one that the model
# never saw, so compare orders; the fall alone says little.
#
# </details>
#
# ### What attention does not prove
#
# That a patch was attended to does not mean that it decided the answer: values, later layers and the residual stream
# decide what becomes of it. That a patch was *not* attended to does not mean that it was not used: its content may
# have come through another one. A gradient says what a small change would do, not what happens without the patch. And
# the masks of the stand-in are of drawn pictures: what you measured there holds for drawn pictures.
