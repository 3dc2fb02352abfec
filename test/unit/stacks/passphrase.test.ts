import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { refuseEmptyPassphrase } from "../../../stacks/passphrase.ts";

let project: string;

beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), "stagex-passphrase-"));
});

afterEach(async () => {
  await rm(project, { recursive: true, force: true });
});

/** As the engine wrote them of an empty passphrase, and of "team". */
const salts = {
  empty: "encryptionsalt: v1:Qx2XX9gSVIA=:v1:yBUJhwKih9emFndG:k8ToH1bCRZvnt7EWuenJaSaFtFlAgw==\n",
  team: "encryptionsalt: v1:zXbqaLN6ZtI=:v1:ocaAH1jH/kAN8EPA:KKDeFCClAa9g+ZzZrpIKxVP5AKmGXg==\n",
};

async function refusal(settings: string | undefined, environment: NodeJS.ProcessEnv): Promise<string> {
  if (settings !== undefined) await writeFile(join(project, "Pulumi.fleet.yaml"), settings);
  return await refuseEmptyPassphrase({ project, stack: "fleet" }, environment).then(
    () => "none",
    (error: Error) => error.message,
  );
}

const refused =
  /^stack fleet is encrypted with the empty passphrase.*\n.*change-secrets-provider passphrase --stack fleet/s;

test("refuses an empty passphrase, from a variable or a file", async () => {
  expect(await refusal(salts.empty, { PULUMI_CONFIG_PASSPHRASE: "" })).toMatch(refused);
  expect(await refusal(undefined, { PULUMI_CONFIG_PASSPHRASE: "" })).toMatch(refused);
  const file = join(project, "phrase");
  await writeFile(file, " \n");
  expect(await refusal(salts.empty, { PULUMI_CONFIG_PASSPHRASE_FILE: file })).toMatch(refused);
});

test("accepts another passphrase, from the sources in the engine's order", async () => {
  expect(await refusal(salts.team, { PULUMI_CONFIG_PASSPHRASE: "team" })).toBe("none");
  const file = join(project, "phrase");
  await writeFile(file, "team\n");
  expect(await refusal(salts.team, { PULUMI_CONFIG_PASSPHRASE_FILE: file })).toBe("none");
  const both = { PULUMI_CONFIG_PASSPHRASE: "", PULUMI_CONFIG_PASSPHRASE_FILE: file };
  expect(await refusal(salts.empty, both)).toMatch(refused);
});

test("detects an empty answer at the terminal by the stack's salt", async () => {
  expect(await refusal(salts.empty, {})).toMatch(refused);
  expect(await refusal(salts.team, {})).toBe("none");
}, 30_000);

test("accepts a stack that a key service encrypts", async () => {
  const settings = "secretsprovider: awskms://alias/stagex?region=us-east-2\nencryptedkey: AQID\n";
  expect(await refusal(settings, { PULUMI_CONFIG_PASSPHRASE: "" })).toBe("none");
  expect(
    await refusal(`secretsprovider: passphrase\n${salts.empty}`, { PULUMI_CONFIG_PASSPHRASE: "" }),
  ).toMatch(refused);
});
