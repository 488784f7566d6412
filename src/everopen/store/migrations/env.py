"""What alembic runs for each command: the connection comes from `runner.upgrade`, never from an ini file."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
