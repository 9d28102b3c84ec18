/** The labels by which kws knows its own, on releases, namespaces and workloads. */
export const stackLabel = "kws.dev/stack";
export const serviceLabel = "kws.dev/service";
export const workspaceLabel = "kws.dev/workspace";
export const fingerprintLabel = "kws.dev/fingerprint";
/** How many workloads the release has, so that one that was deleted by hand is missed. */
export const workloadsLabel = "kws.dev/workloads";
/** The package's version, `_` for `+`; none where the service was built where it was started. */
export const versionLabel = "kws.dev/version";
/** On what was made for tests, and goes with them: `unit` or `functional`. */
export const testLabel = "kws.dev/test";
/** On the namespace of a pipeline's run and what is in it: the run's id. */
export const runLabel = "kws.dev/run";
/** On what leads a stack's remote services to another cluster: the stack's name. */
export const remoteLabel = "kws.dev/remote";
export const profileLabel = "kws.dev/profile";
/** On the one release of a manifest, for each of its services: `version.kws.dev/orders: 1.4.0`, `profile.kws.dev/orders: qa1`. */
export const partVersionPrefix = "version.kws.dev/";
export const partProfilePrefix = "profile.kws.dev/";
/** The release, as charts write it on their objects and pods. */
export const instanceLabel = "app.kubernetes.io/instance";
export const managedByLabel = "app.kubernetes.io/managed-by";
/** Helm's own, on every object of a release. */
export const releaseAnnotation = "meta.helm.sh/release-name";
export const hookAnnotation = "helm.sh/hook";
export const fieldManager = "kws";
