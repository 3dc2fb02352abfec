import { ComponentResource, output } from "@pulumi/pulumi";
import type { AwsFleetArgs } from "../../components/builder-fleet/aws.ts";
import type { FleetBuilder } from "../../components/builder-fleet/fleet-builder.ts";
import { FleetCertificates } from "../../components/builder-fleet/fleet-certificates.ts";
import { awsMachines, awsVendors, instanceType } from "../../config/aws-fleet.ts";

/** Returns no architectures, so that no program is uploaded. */
export const architecturesOf = (): never[] => [];

/**
 * A project's components/builder-fleet/aws.ts for a test. It lies as deep as that file, so that its
 * imports hold in its place. It is the fleet as its stack sees it, with its
 * certificates and the ends of its tunnels, and without AWS. The test provides the listeners at
 * those ends.
 */
export class AwsFleet extends ComponentResource {
  readonly builders: readonly FleetBuilder[];
  readonly buckets = {};
  readonly orchestrators = undefined;

  constructor(name: string, { config, now }: AwsFleetArgs) {
    super("stagex:index:AwsFleet", name);
    const period = { fleet: config.name, rotateDays: config.rotateDays, now };
    const certificates = new FleetCertificates(period, { parent: this });
    const { certificate, key } = certificates.issueClientCertificate();
    const vendors = awsVendors.filter((vendor) => config.builders[vendor] > 0);
    this.builders = vendors.map((vendor, index) => {
      const builder = `${vendor}-1`;
      const serverName = `${builder}.${config.name}.internal`;
      certificates.issueServerCertificate(builder, serverName);
      const localPort = config.localPort + index;
      return {
        ...{ name: builder, platforms: ["linux/amd64", "linux/386"], slots: 2, memory: 2 ** 32 },
        ...{ vendor: awsMachines[vendor].cpuVendor, machine: instanceType(config, vendor) },
        address: output(`tcp://127.0.0.1:${localPort}`),
        tls: { ca: certificates.ca, certificate, key, serverName },
        tunnel: { instance: output(`i-${builder}`), region: config.region, remotePort: 1234, localPort },
      };
    });
    this.registerOutputs({});
  }
}
