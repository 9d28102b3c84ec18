/** The Kubernetes that a cluster is, in the words of its API server and its node alike. */

/** A semantic version, with the product as build metadata. */
export const kubernetesVersion = "v1.35.2+kws";
