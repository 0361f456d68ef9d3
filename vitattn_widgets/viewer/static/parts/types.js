// @ts-check
// The types that the parts share. Nothing here exists at run time.

/** @typedef {import("../engine/capsule.js").Capsule} Capsule */
/** @typedef {import("./store.js").Store} Store */

/** @typedef {import("../engine/settings.js").Settings} Settings */
/** @typedef {import("../engine/settings.js").MapSettings & {model: string, picture: string}} PanelChoice */

/**
 * @typedef {Object} Choices   What the viewer adds.
 * @property {string} model
 * @property {string} picture
 * @property {string} arrangement      "overlay", "map" or "side by side"
 * @property {PanelChoice[]} panels    the panels of the comparison
 * @property {string} panel_scale      "shared" or "robust"
 * @property {number[]} difference     numbers of two panels, or empty
 * @property {string} question         the open tab, a key of QUESTIONS; the host does not hear of it
 */

/** @typedef {Settings & Choices} State */

/** @typedef {{name: string, thumbnail: string, reason: string, credit: string}} LibraryPicture */
/** @typedef {{models: string[], pictures: LibraryPicture[], note: string}} Library */

/**
 * @typedef {Object} Host   The one interface that a front end implements.
 * @property {() => Partial<State>} read
 * @property {(changes: Partial<State>) => void} write
 * @property {(listener: (changes: Partial<State>) => void) => () => void} subscribe
 * @property {() => Library} library
 * @property {(listener: () => void) => () => void} onLibrary
 * @property {(model: string, picture: string) => Promise<ArrayBuffer>} capsule
 * @property {(listener: (model: string, picture: string) => void) => () => void} [onCapsule]   another one has come
 * @property {(model: string, picture: string, request: object) => Promise<ArrayBuffer>} more
 * @property {(file: File) => Promise<string>} [upload]
 * @property {(model: string, picture: string, settings: Settings, waiting: (text: string) => void) => Promise<any>} [check]
 * @property {(what: string, state: State) => Promise<{name: string, mime: string, content: ArrayBuffer}>} [file]
 * @property {boolean} [closed]   whether its capsules hold all there is, recipes included: there is nobody to ask
 * @property {(state: State) => string} [link]
 * @property {string} without
 * @property {string} [message]   said on the picture when the viewer opens, such as what is wrong with a link
 */

/**
 * @typedef {Object} Now   What is on the screen.
 * @property {State} state
 * @property {Settings} settings     fitted to the capsule, without the viewer's own fields
 * @property {Capsule} capsule
 * @property {import("./paint.js").Photo} photo
 * @property {import("../engine/render.js").Prepared} prepared
 * @property {import("../engine/render.js").Drawn} drawn
 * @property {Set<string>} changed   names of settings, and "capsule" when the photo or the model is another one
 */

/**
 * @typedef {Object} Part
 * @property {HTMLElement} element
 * @property {(now: Now) => void} update    called with each frame, before it is painted: compare `changed` first
 */

/**
 * @typedef {Object} Message
 * @property {string} text
 * @property {"note" | "error" | "progress"} kind
 * @property {{text: string, act: () => void}} [action]   a button in the message
 * @property {number} [lasts]   milliseconds; without it until it is closed or replaced
 */

/**
 * @typedef {Object} Viewer   The context that every part gets.
 * @property {string} id              prefix of ids, unique on the page
 * @property {HTMLElement} root
 * @property {Host} host
 * @property {Store} store            get(), change(changes, {undoable}), undo(), redo()
 * @property {AbortSignal} signal     aborted when the viewer is removed: pass it to every listener outside the root
 * @property {() => Now | null} now   what is on the screen; null before the first picture
 * @property {() => Capsule | null} capsule   of the photo and model on the screen
 * @property {(model: string, picture: string) => Promise<Capsule>} capsuleOf   any other, kept for later
 * @property {(model: string, picture: string, capsule: Capsule, settings: Settings) => Promise<void>} supply
 *   asks the host for what this map lacks; rejects with a line for the user
 * @property {(message: Message) => () => void} say   shows a message on the picture; the function returned removes it
 * @property {(name: "" | "compare" | "heads" | "check" | "keep") => void} open   opens a drawer, "" closes
 * @property {() => string} opened    the open drawer
 * @property {(listener: () => void) => void} onOpen   the open drawer changed
 */

export {};
