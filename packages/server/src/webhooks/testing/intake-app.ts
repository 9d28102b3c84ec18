/** The intake as a server of its own: what tests send to, and what is measured. */
import { UserError } from "@kws/base/errors";
import Fastify, { type FastifyError, type FastifyInstance } from "fastify";
import { intake, type IntakeOptions } from "../in/intake.ts";

const statuses: Record<string, number> = { permission: 403, usage: 400, "not-found": 404 };

export async function intakeApp(options: IntakeOptions): Promise<FastifyInstance> {
  const app = Fastify();
  app.setErrorHandler<FastifyError | UserError>((error, _request, reply) => {
    const status = error instanceof UserError ? statuses[error.code] : error.statusCode;
    return reply.code(status ?? 500).send({ message: error.message });
  });
  await app.register(intake, options);
  return app;
}
