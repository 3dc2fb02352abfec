import { Output, output } from "@pulumi/pulumi";
import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { defineResource } from "../../../../../providers/stagex/protocol/define-resource.ts";
import { Builder } from "../../../../../providers/stagex/resources/builder/resource.ts";
import { known, mockedStack, secretsIn } from "../../../../support/builders/mocked-stack.ts";

const definition = {
  token: "stagex:index:Example",
  inputs: z.strictObject({ size: z.int(), parts: z.record(z.string(), z.string()).optional() }),
  outputs: z.strictObject({ certificate: z.string(), note: z.string().optional() }),
};

/** An example. */
class Example extends defineResource(definition) {}

test("registers a resource with its arguments, outputs of others among them", async () => {
  const { asked } = await mockedStack(() => {
    new Example("one", { size: 1, parts: { a: output("b") } });
  });
  expect(asked).toEqual([
    { type: "stagex:index:Example", name: "one", inputs: { size: 1, parts: { a: "b" } } },
  ]);
});

test("has its outputs, and none of its inputs", async () => {
  const { returned } = await mockedStack(() => new Example("one", { size: 1 }));
  expectTypeOf(returned.certificate).toEqualTypeOf<Output<string>>();
  expectTypeOf(returned.note).toEqualTypeOf<Output<string | undefined>>();
  expect(await known(returned.certificate)).toEqual({ value: "certificate of one", isSecret: false });
  expect(Output.isInstance(Reflect.get(returned, "size"))).toBe(false);
});

test("sends a builder's credentials as secrets", async () => {
  const tls = { ca: "authority", certificate: "certificate", key: "key" };
  const { asked } = await mockedStack(() => {
    new Builder("west", { name: "west", address: "tcp://192.0.2.1:1234", tls });
    new Builder("east", { name: "east", address: "unix:///run/buildkit.sock" });
  });
  const [west, east] = ["west", "east"].map((name) => asked.find((one) => one.name === name)?.inputs);
  expect(secretsIn(west)).toEqual([tls]);
  expect(east).toEqual({ name: "east", address: "unix:///run/buildkit.sock" });
});
