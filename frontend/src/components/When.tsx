// A moment as people read it, which is a link to the page as it was then.
import { lookAt, serverNow, when } from "../app";
import { duration } from "../format";

interface WhenProps {
  /** Unix seconds. */
  at: number | null;
  millis?: boolean;
  /** Said besides where it is pointed at. */
  note?: string;
}

/** How long ago, and the moment in UTC: told when it is pointed at, since it grows. */
function told(at: number, note?: string): string {
  const ago = serverNow.peek() === null ? "" : `${duration((serverNow.peek() ?? at) - at)} ago · `;
  return `${ago}${new Date(at * 1000).toISOString()}${note === undefined ? "" : ` · ${note}`}`;
}

export function When({ at, millis, note }: WhenProps) {
  if (at === null) return <>{when(null)}</>;
  return (
    <a
      class="when"
      href={`#at=${at.toFixed(3)}`}
      onPointerEnter={(event) => {
        event.currentTarget.title = told(at, note);
      }}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab of its own
        event.preventDefault();
        lookAt(at);
      }}
    >
      <time dateTime={new Date(at * 1000).toISOString()}>{when(at, millis)}</time>
    </a>
  );
}
