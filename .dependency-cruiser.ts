import type { IConfiguration, IRegularForbiddenRuleType } from "dependency-cruiser";

/**
 * The boundaries of the house, which `npm run lint` and test/unit/boundaries.test.ts enforce.
 * docs/architecture.md draws them.
 *
 * Imports for types alone count as much as others (`tsPreCompilationDeps`): what a file has to know
 * is what it imports.
 */

/** The rooms that each room may import from; each may import from itself and from `lib`. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  distro: [],
  sources: [],
  oci: [],
  trust: [],
  buildkit: [],
  "pulumi-workarounds": [],
  tools: ["pulumi-workarounds"],
  config: ["distro", "oci", "trust"],
  pipeline: ["distro", "sources", "oci", "trust", "buildkit", "tools", "config"],
  providers: [
    "distro",
    "sources",
    "oci",
    "trust",
    "buildkit",
    "tools",
    "config",
    "pipeline",
    "pulumi-workarounds",
  ],
  components: ["distro", "oci", "trust", "buildkit", "config", "pipeline", "providers", "pulumi-workarounds"],
  stacks: [
    ...["distro", "sources", "oci", "trust", "tools", "config", "pipeline"],
    ...["providers", "components", "pulumi-workarounds"],
  ],
  cli: ["distro", "sources", "oci", "trust", "buildkit", "tools", "config", "pipeline", "pulumi-workarounds"],
};

/** Modules that every room may import: types that all share, and the version. */
const shared = [
  "^oci/digest\\.ts$",
  "^distro/build-plan\\.ts$",
  "^distro/input-key\\.ts$",
  "^sources/recording/fetch-record\\.ts$",
  "^package\\.json$",
];

const names = Object.keys(rooms);
const folders = `^(?:${names.join("|")})/`;
const product = `^(?:${names.join("|")})/|^index\\.ts$`;

/** A rule for each room: it imports from no room but those that its list names. */
const oneWay = names.map((room): IRegularForbiddenRuleType => {
  const allowed = [room, "lib", ...(rooms[room] ?? [])];
  const foreign = [...names, "bench", "test"].filter((other) => !allowed.includes(other));
  return {
    name: `one-way-${room}`,
    comment: `${room}/ may import from ${allowed.join(", ")}.`,
    severity: "error",
    from: { path: `^${room}/` },
    to: { path: `^(?:${foreign.join("|")})/`, pathNot: shared },
  };
});

const configuration: IConfiguration = {
  forbidden: [
    ...oneWay,
    {
      name: "no-circles",
      comment: "A type that two files need has a file of its own.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-folder-circles",
      comment: "Folders of a room import one way; the test finds circles of a folder with one in it, too.",
      severity: "error",
      scope: "folder",
      from: { path: folders },
      to: { circular: true },
    },
    {
      name: "provider-by-resource-alone",
      comment: "Others know the provider by the classes of its resources.",
      severity: "error",
      from: { path: product, pathNot: "^providers/" },
      to: { path: "^providers/", pathNot: "/resource\\.ts$" },
    },
    {
      name: "nobody-imports-bench",
      comment: "What benchmarks and tests share is in test/support/.",
      severity: "error",
      from: { pathNot: "^bench/" },
      to: { path: "^bench/" },
    },
    {
      name: "product-imports-no-test",
      severity: "error",
      from: { path: product },
      to: { path: "^test/" },
    },
    {
      name: "pulumi-in-its-rooms",
      comment: "All that the pipeline does works without Pulumi.",
      severity: "error",
      from: { path: product, pathNot: "^(?:providers|components|stacks|pulumi-workarounds)/|^index\\.ts$" },
      to: { path: "node_modules/@pulumi/" },
    },
    {
      name: "grpc-in-the-server-alone",
      comment: "The server alone speaks gRPC; the log is a client of the engine's.",
      severity: "error",
      from: {
        path: product,
        pathNot: "^providers/stagex/protocol/(?:grpc-server|grpc-status|engine-log)\\.ts$",
      },
      to: { path: "node_modules/@grpc/grpc-js/" },
    },
    {
      name: "no-development-package",
      comment: "At run time only what `npm ci --omit=dev` installs is there.",
      severity: "error",
      from: { path: product },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"] },
    },
    {
      name: "all-can-be-found",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(?:\\.stagex|out|examples|coverage)(?:/|$)" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "types"],
      extensions: [".ts", ".mjs", ".js", ".json"],
    },
  },
};

export default configuration;
