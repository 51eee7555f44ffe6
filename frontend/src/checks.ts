// What the generated checks of messages (types.gen.ts) are built from. Each tells whether something is of a type.

/** A function that tells it; `Of` is the type that it stands for. */
type Check<T> = (x: unknown) => x is T;
export type Of<C> = C extends (x: unknown) => x is infer T ? T : never;

// biome-ignore lint/suspicious/noExplicitAny: a check of any type
type Shape = Record<string, Check<any>>;
interface Optional {
  optional: true;
}
/** The fields that must be there, and those that may be missing. */
type Fields<S extends Shape> = { [K in keyof S as S[K] extends Optional ? never : K]: Of<S[K]> } & {
  [K in keyof S as S[K] extends Optional ? K : never]?: Of<S[K]>;
};

const isObject = (x: unknown): x is Record<string, unknown> =>
  typeof x === "object" && x !== null && !Array.isArray(x);

export const num = (x: unknown): x is number => typeof x === "number" && Number.isFinite(x);
export const text = (x: unknown): x is string => typeof x === "string";
export const truth = (x: unknown): x is boolean => typeof x === "boolean";
export const anything = (_: unknown): _ is unknown => true;

export const nullable =
  <T>(of: Check<T>) =>
  (x: unknown): x is T | null =>
    x === null || of(x);

export const list =
  <T>(of: Check<T>) =>
  (x: unknown): x is T[] =>
    Array.isArray(x) && x.every(of);

export const dictionary =
  <T>(of: Check<T>) =>
  (x: unknown): x is Record<string, T> =>
    isObject(x) && Object.values(x).every(of);

export const oneOf = <T extends string>(...values: T[]) =>
  Object.assign((x: unknown): x is T => values.includes(x as T), { values });

export const optional = <T>(of: Check<T>) =>
  Object.assign((x: unknown): x is T | undefined => x === undefined || of(x), { optional: true as const });

export const object =
  <S extends Shape>(shape: S) =>
  (x: unknown): x is Fields<S> =>
    isObject(x) && Object.entries(shape).every(([name, of]) => of(x[name]));
