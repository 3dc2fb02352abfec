import {
  ResolverFirewallConfig,
  ResolverFirewallDomainList,
  ResolverFirewallRule,
  ResolverFirewallRuleGroup,
  ResolverFirewallRuleGroupAssociation,
} from "@pulumi/aws/route53/index.js";
import type { Input, Resource } from "@pulumi/pulumi";
import { type AwsScope, awsTags } from "./aws-scope.ts";

/**
 * Has the network's resolver answer for these names alone. No security group stands between a machine and the resolver, which asks any name
 * server of the world: without this, a build that broke out could carry data away in the names that it asks for.
 *
 * @param names of the endpoints, which all are AWS's
 * @returns what a machine is not to start without
 */
export function createDnsFirewall(scope: AwsScope, vpcId: Input<string>, names: Input<string[]>): Resource[] {
  const { config, options } = scope;
  const named = (name: string) => `${config.name}-dns-${name}`;
  const list = (name: string, domains: Input<string[]>) =>
    new ResolverFirewallDomainList(named(name), { domains, tags: awsTags(scope, `dns-${name}`) }, options).id;
  const group = new ResolverFirewallRuleGroup(named("rules"), { tags: awsTags(scope, "dns-rules") }, options);
  const firewallRuleGroupId = group.id;
  const rules = [
    new ResolverFirewallRule(
      named("endpoints"),
      {
        firewallRuleGroupId,
        firewallDomainListId: list("endpoints", names),
        action: "ALLOW",
        // S3's names lead to others of AWS's (CNAME), which differ by place and time.
        firewallDomainRedirectionAction: "TRUST_REDIRECTION_DOMAIN",
        priority: 100,
      },
      options,
    ),
    new ResolverFirewallRule(
      named("all-else"),
      {
        firewallRuleGroupId,
        firewallDomainListId: list("all-else", ["*"]),
        action: "BLOCK",
        blockResponse: "NXDOMAIN",
        priority: 200,
      },
      options,
    ),
  ];
  // A firewall that can't be asked lets nothing through.
  const closed = new ResolverFirewallConfig(
    named("closed"),
    { resourceId: vpcId, firewallFailOpen: "DISABLED" },
    options,
  );
  const association = new ResolverFirewallRuleGroupAssociation(
    named("rules"),
    {
      firewallRuleGroupId,
      vpcId,
      // The least that AWS takes.
      priority: 101,
      mutationProtection: "DISABLED",
      tags: awsTags(scope, "dns-rules"),
    },
    // All names would be answered between the association and its last rule.
    { ...options, dependsOn: rules },
  );
  return [closed, association];
}
