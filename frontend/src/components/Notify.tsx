// The switch for the browser's notifications.
import { toggleWish, type Wish, wish } from "../notifications";
import { Button } from "./ui";

const SAID: Record<Wish, string> = {
  on: "An alarm is shown by the browser while this page is open and not looked at.",
  off: "Have the browser show alarms while this page is open and not looked at.",
  denied: "The browser does not allow this page to notify you; its settings for this site do.",
  impossible: "This browser shows none here: it takes https, or localhost.",
};

export function Notify() {
  const { value } = wish;
  return (
    <p class="notify">
      {(value === "on" || value === "off") && (
        <Button look="small" onClick={() => void toggleWish()}>
          {value === "on" ? "Stop notifying me" : "Notify me"}
        </Button>
      )}{" "}
      {SAID[value]}
    </p>
  );
}
