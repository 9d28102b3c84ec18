/** What several nouns of kws.yaml are made of, and the datastores that tests and pipelines both start. */
import { type Static, Type } from "typebox";

/** DNS-1123 label: it becomes part of object names, namespaces and host names. */
export const Name = (description: string) =>
  Type.String({ pattern: "^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$", description });
export const Argv = Type.Array(Type.String({ minLength: 1 }), { minItems: 1 });
export const strict = { additionalProperties: false };

export const Env = (description: string) =>
  Type.Optional(
    Type.Record(Type.String({ pattern: "^[-._a-zA-Z][-._a-zA-Z0-9]*$" }), Type.String(), { description }),
  );
const Port = Type.Integer({ minimum: 1, maximum: 65_535 });
export const Duration = (description: string) =>
  Type.Optional(Type.String({ pattern: "^(\\d+(\\.\\d+)?(ms|[smhdw]))+$", description }));
export const Quantity = (description: string) =>
  Type.Optional(Type.String({ pattern: "^\\d+(\\.\\d+)?(m|k|M|G|Ki|Mi|Gi)?$", description }));

export const Datastore = Type.Object(
  {
    image: Type.Optional(Type.String({ minLength: 1, description: "The image to run." })),
    service: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The service of the workspace whose image it runs, instead of `image`.",
      }),
    ),
    args: Type.Optional(
      Type.Array(Type.String(), { description: "Arguments for the image's own command line." }),
    ),
    env: Env("Its environment; passwords are in `secrets` of the tests."),
    ports: Type.Array(Port, { minItems: 1, description: "The ports that the tests reach under its name." }),
    ready: Type.Optional(
      Type.Union(
        [
          Type.Object({ tcp: Port }, strict),
          Type.Object({ http: Type.String({ pattern: "^/" }), port: Type.Optional(Port) }, strict),
          Type.Object({ exec: Argv }, strict),
        ],
        {
          description:
            "When the tests may begin: a port that takes connections, a path that answers, or a command inside that succeeds; " +
            "the first of the ports unless given.",
        },
      ),
    ),
    timeout: Duration("How long it may take to become ready; `2m` unless given."),
  },
  strict,
);
export type Datastore = Static<typeof Datastore>;
