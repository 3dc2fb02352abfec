import { expect, test } from "vitest";
import { cpuModelOf, cpuVendorOf } from "../../../../buildkit/client/builder-facts.ts";

test.each([
  ["processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n", "GenuineIntel"],
  [
    "processor\t: 0\nvendor_id\t: AuthenticAMD\n\nprocessor\t: 1\nvendor_id\t: AuthenticAMD\n",
    "AuthenticAMD",
  ],
  ["processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU architecture: 8\n", "ARM"],
  ["CPU implementer\t: 0xC0\n", "Ampere"],
  ["CPU implementer\t: 0x99\n", "0x99"],
  ["", "unknown"],
])("reads the CPU vendor of %j: %s", (cpuinfo, vendor) => {
  expect(cpuVendorOf(cpuinfo)).toBe(vendor);
});

test.each([
  [
    "vendor_id\t: AuthenticAMD\nmodel\t\t: 17\nmodel name\t: AMD EPYC 7763 64-Core Processor \n",
    "AMD EPYC 7763 64-Core Processor",
  ],
  ["CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "unknown"],
  ["model name\t:\nstepping\t: 1\n", "unknown"],
])("reads the CPU model of %j: %s", (cpuinfo, model) => {
  expect(cpuModelOf(cpuinfo)).toBe(model);
});
