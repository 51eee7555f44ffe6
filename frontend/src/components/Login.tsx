import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, login } from "../api";
import { retryNow } from "../app";

/** The token becomes an HttpOnly cookie: it is neither kept on the page nor ever in a URL. */
export function Login() {
  const field = useRef<HTMLInputElement>(null);
  const [error, setError] = useState<string | null>(null);
  const [sending, setSending] = useState(false);
  useEffect(() => field.current?.focus(), []);

  const submit = async () => {
    const token = field.current?.value ?? "";
    if (token === "" || sending) return;
    setSending(true);
    setError(null);
    try {
      await login(token);
      if (field.current !== null) field.current.value = "";
      retryNow();
    } catch (problem) {
      setError(problem instanceof ApiError ? problem.message : "The coordinator does not answer. Try again.");
      field.current?.select();
    } finally {
      setSending(false);
    }
  };

  return (
    <main class="login">
      <form
        class="login-card"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <img src="./favicon.svg" width="40" height="40" alt="" />
        <h1>DP coordinator</h1>
        <p>This coordinator asks for a token: the one it was started with.</p>
        {/* Password managers file the token under this name. */}
        <input type="text" autocomplete="username" value="dp-coordinator" hidden readOnly />
        <label for="token">Token</label>
        <input
          id="token"
          ref={field}
          class="input"
          type="password"
          autocomplete="current-password"
          required
          aria-invalid={error !== null}
          aria-describedby="login-error"
        />
        <p id="login-error" class="form-error" role="alert">
          {error}
        </p>
        <button type="submit" class="button button-primary" disabled={sending}>
          {sending ? "Signing in…" : "Sign in"}
        </button>
      </form>
    </main>
  );
}
