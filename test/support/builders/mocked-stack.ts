import { isSecret, type Output, output } from "@pulumi/pulumi";
import { disconnect, setMocks } from "@pulumi/pulumi/runtime/index.js";
import { usePathsInStackTraces } from "../../../pulumi-workarounds/source-positions.ts";

/** A registered resource, with the inputs that the engine would get, secrets wrapped. */
export type Asked = {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
};

/** The mark with which the SDK wraps a secret on its way to the engine. */
const secretMark = "4dabf18193072939515e22adb298388d";

/**
 * Runs a program against Pulumi's mocks, and returns the resources that it registered, by name, and
 * its result. Outputs that AWS would choose are made up. The program's modules may be loaded
 * already: mocks are consulted when a resource is registered.
 */
export async function mockedStack<Returned>(
  program: () => Promise<Returned> | Returned,
): Promise<{ asked: Asked[]; returned: Returned }> {
  const asked: Asked[] = [];
  // As every program of ours does: the SDK takes a stack trace for each promise, and formatting
  // them takes the most time of all.
  usePathsInStackTraces();
  await setMocks(
    {
      newResource({ type, name, inputs, id }) {
        asked.push({ type, name, inputs });
        return { id: id || `${name}-id`, state: { ...madeUp(type, name), ...inputs } };
      },
      call: ({ token }) => {
        throw new Error(`the program asked ${token}, which needs an account`);
      },
    },
    "stagex",
    "test",
    false,
  );
  const returned = await program();
  await disconnect();
  return { asked, returned };
}

/** Makes up the outputs of a resource beside its inputs. */
function madeUp(type: string, name: string): Record<string, unknown> {
  const service = type.split(":")[1]?.split("/")[0];
  return {
    arn: `arn:aws:${service}:us-east-2:123456789012:${name}`,
    name,
    bucket: name,
    ownerId: "123456789012",
    prefixListId: "pl-s3",
    privateIp: "10.60.0.10",
    latestVersion: 1,
    ...(type.startsWith("stagex:")
      ? {
          certificate: `certificate of ${name}`,
          key: { [secretMark]: "1b47061264138c4ac30d75fd1eb44270", value: `key of ${name}` },
        }
      : {}),
  };
}

/** Returns the value of an output, secret or not. */
export async function known<Value>(of: unknown): Promise<{ value: Value; isSecret: boolean }> {
  const made = output<unknown>(of) as Output<unknown>;
  const value = await new Promise<Value>((resolve) => made.apply((found) => resolve(found as Value)));
  return { value, isSecret: await isSecret(made) };
}

/** Returns all secrets within a value that was sent to the engine. */
export function secretsIn(value: unknown): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  if (secretMark in value) return [(value as { value?: unknown }).value];
  return Object.values(value).flatMap(secretsIn);
}
