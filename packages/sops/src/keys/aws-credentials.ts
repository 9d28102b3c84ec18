/**
 * AWS credentials by the environment that is handed in; the SDK's own chain looks at this process' environment. The order is
 * that of the AWS SDKs: a profile that is named; else keys in variables, a web identity's token (roles of service accounts),
 * the default profile, and what a container's or an instance's metadata service gives.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import type { KMSClientConfig } from "@aws-sdk/client-kms";
import type { KeyOf, KeyWorld } from "./key.ts";

type Credentials = NonNullable<KMSClientConfig["credentials"]>;
/** What clients of STS share with those of KMS. */
type ClientConfig = Pick<KMSClientConfig, "region" | "endpoint" | "requestHandler" | "maxAttempts">;

/** Credentials that may use the key: those of its role, where it names one, assumed with those of its profile. */
export async function awsCredentials(
  { env, home }: KeyWorld,
  key: KeyOf<"kms">,
  clientConfig: ClientConfig,
): Promise<Credentials> {
  const {
    createCredentialChain,
    fromHttp,
    fromIni,
    fromInstanceMetadata,
    fromTemporaryCredentials,
    fromTokenFile,
  } = await import("@aws-sdk/credential-providers");
  const sts = { ...clientConfig, endpoint: awsEndpoint(env, "STS") };
  const profile = (name: string) =>
    fromIni({
      profile: name,
      filepath: env.AWS_SHARED_CREDENTIALS_FILE ?? join(home, ".aws", "credentials"),
      configFilepath: env.AWS_CONFIG_FILE ?? join(home, ".aws", "config"),
      clientConfig: sts,
    });

  const chain = () => {
    // Files of older versions of sops hold empty texts for what is not set.
    const named = [key.aws_profile, env.AWS_PROFILE].find(isSet);
    if (named !== undefined) return profile(named);
    const providers = [profile("default")];
    if (isSet(env.AWS_WEB_IDENTITY_TOKEN_FILE) && isSet(env.AWS_ROLE_ARN)) {
      providers.unshift(
        fromTokenFile({
          webIdentityTokenFile: env.AWS_WEB_IDENTITY_TOKEN_FILE,
          roleArn: env.AWS_ROLE_ARN,
          roleSessionName: env.AWS_ROLE_SESSION_NAME,
          clientConfig: sts,
        }),
      );
    }
    if (isSet(env.AWS_ACCESS_KEY_ID) && isSet(env.AWS_SECRET_ACCESS_KEY)) {
      const keys = {
        accessKeyId: env.AWS_ACCESS_KEY_ID,
        secretAccessKey: env.AWS_SECRET_ACCESS_KEY,
        sessionToken: env.AWS_SESSION_TOKEN,
      };
      providers.unshift(async () => await Promise.resolve(keys));
    }
    if (isSet(env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI) || isSet(env.AWS_CONTAINER_CREDENTIALS_FULL_URI)) {
      providers.push(
        fromHttp({
          awsContainerCredentialsRelativeUri: env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
          awsContainerCredentialsFullUri: env.AWS_CONTAINER_CREDENTIALS_FULL_URI,
          awsContainerAuthorizationToken: env.AWS_CONTAINER_AUTHORIZATION_TOKEN,
          awsContainerAuthorizationTokenFile: env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE,
        }),
      );
    } else if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() !== "true") {
      providers.push(fromInstanceMetadata());
    }
    return createCredentialChain(...providers);
  };

  if (!isSet(key.role)) return chain();
  return fromTemporaryCredentials({
    masterCredentials: chain(),
    params: { RoleArn: key.role, RoleSessionName: sessionName(hostname()) },
    clientConfig: sts,
  });
}

/** `AWS_ENDPOINT_URL_KMS` and its like; undefined means the region's own. */
export function awsEndpoint(env: NodeJS.ProcessEnv, service: "KMS" | "STS"): string | undefined {
  if (env.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS?.toLowerCase() === "true") return undefined;
  return env[`AWS_ENDPOINT_URL_${service}`] ?? env.AWS_ENDPOINT_URL;
}

/** The name that sops gives its sessions, by which CloudTrail shows who called. STS takes at most 64 characters. */
export function sessionName(host: string): string {
  return `sops@${host.replaceAll(/[^\w=,.@]+/g, "")}`.slice(0, 64);
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== "";
}
