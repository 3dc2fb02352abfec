import { output } from "@pulumi/pulumi";
import { localBuilderNames } from "../../config/fleet-plan.ts";
import type { DeclaredBuilder } from "./builders.ts";

/**
 * Returns private daemons on this machine, each with its own cache, started on demand. They share
 * its cores: one is enough to build with, several are for machines with many cores, and for
 * comparing.
 */
export function localFleet(count: number): DeclaredBuilder[] {
  return localBuilderNames(count).map((name, index) => ({ name, address: output(`private:${index + 1}`) }));
}
