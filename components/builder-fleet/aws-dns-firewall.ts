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
 * Limits the network's resolver to these names. Security groups do not apply to the resolver, which
 * asks any name server in the world: a build that broke out could send data out in the names that
 * it looks up.
 *
 * @param names of the endpoints, all of them AWS's
 * @returns the resources that must exist before a machine starts
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
        // S3's names lead to other names of AWS (CNAME), which differ by place and time.
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
  // If the firewall is unavailable, no name is resolved.
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
      // The lowest that AWS accepts.
      priority: 101,
      mutationProtection: "DISABLED",
      tags: awsTags(scope, "dns-rules"),
    },
    // With an association before its last rule, all names would be resolved for a moment.
    { ...options, dependsOn: rules },
  );
  return [closed, association];
}
