/** The administrator's kubeconfig, complete in itself: certificates are embedded, so that the file can be copied. */
import { stringify } from "yaml";
import type { Pki } from "./pki.ts";

export function adminKubeconfig(pki: Pki, url: string, name: string): string {
  const base64 = (pem: string): string => Buffer.from(pem).toString("base64");
  return stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name, cluster: { server: url, "certificate-authority-data": base64(pki.caCertificate) } }],
      users: [
        {
          name: `${name}-admin`,
          user: {
            "client-certificate-data": base64(pki.adminCertificate),
            "client-key-data": base64(pki.adminKey),
          },
        },
      ],
      contexts: [{ name, context: { cluster: name, user: `${name}-admin` } }],
      "current-context": name,
    },
    { lineWidth: 0 },
  );
}
