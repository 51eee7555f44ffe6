// Small pieces that every panel uses.
import { effect, type ReadonlySignal, type Signal, useSignal } from "@preact/signals";
import { type ComponentChildren, type ComponentProps, type RefObject, toChildArray } from "preact";
import { useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from "preact/hooks";

const PATHS = {
  running: <path d="M4 2.5v11l9-5.5z" />,
  paused: <path d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" />,
  starting: <path d="M8 1.5a6.5 6.5 0 1 0 6.5 6.5h-2.2A4.3 4.3 0 1 1 8 3.7z" />,
  serving: <path d="M4 2.5v11l9-5.5z" />,
  working: <circle cx="8" cy="8" r="4.5" />,
  quiet: <circle cx="8" cy="8" r="4.5" fill-opacity="0.45" />,
  idle: <circle cx="8" cy="8" r="3.6" fill="none" stroke="currentColor" stroke-width="1.8" />,
  joining: <path d="M8 1.5a6.5 6.5 0 1 0 6.5 6.5h-2.2A4.3 4.3 0 1 1 8 3.7z" />,
  gone: (
    <path d="M3.3 1.8 8 6.5l4.7-4.7 1.5 1.5L9.5 8l4.7 4.7-1.5 1.5L8 9.5l-4.7 4.7-1.5-1.5L6.5 8 1.8 3.3z" />
  ),
  suspect: <path d="M8 1 15.5 14.5H.5zM7.1 5.6v4.6h1.8V5.6zm0 5.7v1.8h1.8v-1.8z" fill-rule="evenodd" />,
  never: (
    <circle
      cx="8"
      cy="8"
      r="4.6"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-dasharray="2.6 2.2"
    />
  ),
  unknown: (
    <path
      d="M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1m.9 10.9H7.1v-1.8h1.8zm1-4.6c-.6.6-1 .9-1 1.7H7.1c0-1.4.6-2 1.2-2.6.5-.5.8-.7.8-1.3 0-.7-.5-1.1-1.1-1.1s-1.2.4-1.3 1.3H4.9c.1-1.8 1.4-2.9 3.1-2.9s3 1 3 2.6c0 1.1-.5 1.7-1.1 2.3"
      fill-rule="evenodd"
    />
  ),
  good: <path d="m6.4 13.2-5-5L3.2 6.4l3.2 3.2L12.8 3.2l1.8 1.8z" />,
  bad: (
    <path d="M3.3 1.8 8 6.5l4.7-4.7 1.5 1.5L9.5 8l4.7 4.7-1.5 1.5L8 9.5l-4.7 4.7-1.5-1.5L6.5 8 1.8 3.3z" />
  ),
  warn: <path d="M8 1 15.5 14.5H.5zM7.1 5.6v4.6h1.8V5.6zm0 5.7v1.8h1.8v-1.8z" fill-rule="evenodd" />,
  alarm: (
    <path d="M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5zM7.1 4v5h1.8V4zm0 6.2V12h1.8v-1.8z" fill-rule="evenodd" />
  ),
  plain: <circle cx="8" cy="8" r="2.4" />,
  back: (
    <path d="M8 2a6 6 0 1 1-5.8 7.5h1.9A4.2 4.2 0 1 0 5 5l1.7 1.7H1.9V2l1.8 1.8A6 6 0 0 1 8 2m-.8 2.900h1.600v3l2 1.200-.8 1.400-2.800-1.700z" />
  ),
  link: <path d="M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1M2.9 3.9l9.2 9.2 1-1-9.2-9.2z" fill-rule="evenodd" />,
  system: (
    <path d="M1.5 2.5h13v8.5h-5l.6 2h1.4v1.3h-7V13h1.4l.6-2h-5zm1.5 1.5v5.5h10V4z" fill-rule="evenodd" />
  ),
  light: (
    <path d="M8 4.8a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4M7.3.800h1.4V3H7.3zm0 12.2h1.4v2.2H7.3zM.8 7.3H3v1.4H.8zm12.2 0h2.2v1.4H13zM2.4 3.4l1-1L5 4 4 5zm8.6 8.6 1-1 1.6 1.6-1 1zM12.6 2.4l1 1L12 5l-1-1zM4 11l1 1-1.6 1.6-1-1z" />
  ),
  dark: <path d="M6.2 1.5a6.5 6.5 0 1 0 8.3 8.3A5.5 5.5 0 0 1 6.2 1.5" />,
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg
      class={`icon icon-${name}`}
      viewBox="0 0 16 16"
      width="16"
      height="16"
      fill="currentColor"
      aria-hidden="true"
    >
      {PATHS[name]}
    </svg>
  );
}

/** A handler that gives a signal a value. */
export function set<T>(into: Signal<T>, value: T): () => void {
  return () => {
    into.value = value;
  };
}

interface SegmentsProps<T extends string | number> {
  label: string;
  choices: readonly (readonly [T, string])[];
  /** Null when none is. */
  chosen: T | null;
  choose: (value: T) => void;
}

/** One of a few. */
export function Segments<T extends string | number>(props: SegmentsProps<T>) {
  return (
    <fieldset class="segments">
      <legend class="visually-hidden">{props.label}</legend>
      {props.choices.map(([value, text]) => (
        <button
          key={value}
          type="button"
          aria-pressed={props.chosen === value}
          onClick={() => props.choose(value)}
        >
          {text}
        </button>
      ))}
    </fieldset>
  );
}

type ButtonProps = ComponentProps<"button"> & { look?: "primary" | "small" | "quiet" };

export function Button({ look, ...rest }: ButtonProps) {
  return <button type="button" class={look === undefined ? "button" : `button button-${look}`} {...rest} />;
}

/** Draws again whenever a signal that it reads changes, in the same frame; useSignalEffect would do so in the next. */
export function useDrawing(draw: () => void): void {
  useEffect(() => effect(draw), []);
}

/** Whether any part of an element is in sight: what is not need not be drawn. */
export function useInSight(ref: RefObject<Element | null>): ReadonlySignal<boolean> {
  const seen = useSignal(true);
  useEffect(() => {
    if (ref.current === null) return;
    const watch = new IntersectionObserver((entries) => {
      seen.value = entries.at(-1)?.isIntersecting ?? true;
    });
    watch.observe(ref.current);
    return () => watch.disconnect();
  }, []);
  return seen;
}

/** A part of the page that may fail without taking the rest with it. */
export function Guard({ name, children }: { name: string; children: ComponentChildren }) {
  const [error, reset] = useErrorBoundary();
  if (error !== undefined && error !== null) {
    return (
      <div class="notice notice-bad" role="alert">
        <p>
          {name} could not be shown: {error instanceof Error ? error.message : String(error)}
        </p>
        <Button onClick={reset}>Try again</Button>
      </div>
    );
  }
  return <>{children}</>;
}

interface PanelProps {
  id: string;
  title: string;
  /** Controls at the right of the title. */
  tools?: ComponentChildren;
  /** Said beside the title, quietly. */
  note?: ComponentChildren;
  children: ComponentChildren;
}

export function Panel({ id, title, tools, note, children }: PanelProps) {
  return (
    <section class="panel" id={id} tabIndex={-1} aria-labelledby={`${id}-title`}>
      <header class="panel-head">
        <h2 id={`${id}-title`}>{title}</h2>
        {note !== undefined && <span class="panel-note">{note}</span>}
        {toChildArray(tools).length > 0 && <div class="panel-tools">{tools}</div>}
      </header>
      <Guard name={title}>{children}</Guard>
    </section>
  );
}

interface ScrollerProps {
  class: string;
  label: string;
  children: ComponentChildren;
}

/** A part that scrolls by itself: reachable by keyboard, and named. */
export function Scroller(props: ScrollerProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for form controls
    <div
      class={props.class}
      role="group"
      aria-label={props.label}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: without it the keyboard cannot scroll
      tabIndex={0}
    >
      {props.children}
    </div>
  );
}

/** A native modal dialog: focus goes to its first control at once and stays inside, Esc closes. */
export function Modal(props: { label: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  // Not a frame later: the letter typed right after the key that opened it belongs into its field.
  useLayoutEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} class="modal" aria-label={props.label} onClose={props.onClose}>
      {props.children}
    </dialog>
  );
}

async function copyText(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) return navigator.clipboard.writeText(text);
  // Plain http on another host has no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("copying is not allowed here");
}

interface CopyProps {
  text: () => string;
  label: string;
  /** What is copied, for those who do not see where the button stands. */
  what: string;
  look?: "small" | "quiet";
}

export function CopyButton({ text, label, what, look = "small" }: CopyProps) {
  const [said, say] = useState<string | null>(null);
  const timer = useRef(0);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const copy = async () => {
    say(
      await copyText(text()).then(
        () => "Copied",
        () => "Not allowed",
      ),
    );
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => say(null), 1600);
  };
  return (
    <Button look={look} aria-label={said ?? `Copy ${what}`} onClick={() => void copy()}>
      {said ?? label}
    </Button>
  );
}
