SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.openai_sessions_branches (
    tenant character varying(255) NOT NULL COLLATE pg_catalog."C",
    entry_id character varying(32) NOT NULL,
    branch character varying(255) NOT NULL COLLATE pg_catalog."C",
    conversation_id character varying(255),
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.openai_sessions_creations (
    tenant character varying(255) NOT NULL COLLATE pg_catalog."C",
    creation_id character varying(32) NOT NULL,
    name character varying(255) NOT NULL COLLATE pg_catalog."C",
    branch character varying(255) NOT NULL COLLATE pg_catalog."C",
    metadata text NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    is_lost boolean NOT NULL
);
CREATE TABLE public.openai_sessions_deletions (
    tenant character varying(255) NOT NULL COLLATE pg_catalog."C",
    conversation_id character varying(255) NOT NULL,
    name character varying(255) NOT NULL COLLATE pg_catalog."C",
    reason character varying(32) NOT NULL,
    noted_at timestamp with time zone NOT NULL
);
CREATE TABLE public.openai_sessions_model_usage (
    tenant character varying(255) NOT NULL COLLATE pg_catalog."C",
    entry_id character varying(32) NOT NULL,
    branch character varying(255) NOT NULL COLLATE pg_catalog."C",
    turn integer NOT NULL,
    model character varying(100) NOT NULL,
    long_input boolean NOT NULL,
    requests bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    total_tokens bigint NOT NULL
);
CREATE TABLE public.openai_sessions_names (
    tenant character varying(255) NOT NULL COLLATE pg_catalog."C",
    entry_id character varying(32) NOT NULL,
    name character varying(255) NOT NULL COLLATE pg_catalog."C",
    branch character varying(255) NOT NULL COLLATE pg_catalog."C",
    metadata text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    lifetime double precision
);
CREATE TABLE public.openai_sessions_schema (
    id integer NOT NULL,
    version integer NOT NULL
);
INSERT INTO public.openai_sessions_branches VALUES ('', 'af73afaf972a4faba67b6e71df19a1d1', 'main', 'conv_6b0cc2e57a36acdbbff61edbc1c4847e6456add008ed1fbb', '2026-01-01 00:00:00+00');
INSERT INTO public.openai_sessions_branches VALUES ('', 'af73afaf972a4faba67b6e71df19a1d1', 'retry', 'conv_6b0cc2e5a095f3b056b42d623371b1f3a7eff5a9b036d5de', '2026-01-01 01:00:00+00');
INSERT INTO public.openai_sessions_branches VALUES ('', 'e761ca0e16604212b77ef97768b10a9b', 'main', 'conv_6b0cc2e59a10705bf87cf8128cac647c70548f82296336dd', '2026-01-01 02:00:00+00');
INSERT INTO public.openai_sessions_branches VALUES ('', '519be7edbb5947a7b06b7ab0b937d4e9', 'main', NULL, '2026-01-01 02:00:00+00');
INSERT INTO public.openai_sessions_branches VALUES ('other', 'f0e8e2e3c5cb4e3d8e07688310d935a1', 'main', 'conv_6b0cc2e5ae8aa82fe7d360f9d5b855172918c5fbf7ce9020', '2026-01-01 02:00:00+00');
INSERT INTO public.openai_sessions_branches VALUES ('', 'de4b46f9d3c84937b61d30c22cb8a8e3', 'main', NULL, '2026-01-01 02:00:00+00');
INSERT INTO public.openai_sessions_creations VALUES ('', 'f6743fefe879492a9edeaa42d16a4847', 'carol', 'main', '{}', '2026-01-01 02:00:00+00', true);
INSERT INTO public.openai_sessions_deletions VALUES ('', 'conv_6b0cc2e56598ab86e13c922e175a53b315cadffeec6aecbd', 'bob', 'forgotten', '2026-01-01 02:00:00+00');
INSERT INTO public.openai_sessions_model_usage VALUES ('', 'af73afaf972a4faba67b6e71df19a1d1', 'main', 0, 'gpt-5.2', false, 2, 1500, 100, 0, 20, 0, 1520);
INSERT INTO public.openai_sessions_names VALUES ('', 'af73afaf972a4faba67b6e71df19a1d1', 'alice', 'retry', '{"plan": "pro", "note": "caf\u00e9 \ud83d\ude00"}', '2026-01-01 00:00:00+00', '2026-01-01 01:00:00+00', NULL, NULL);
INSERT INTO public.openai_sessions_names VALUES ('', 'e761ca0e16604212b77ef97768b10a9b', 'draft', 'main', '{}', '2026-01-01 02:00:00+00', '2026-01-01 02:00:00+00', '2026-01-31 02:00:00+00', 2592000);
INSERT INTO public.openai_sessions_names VALUES ('', '519be7edbb5947a7b06b7ab0b937d4e9', 'unused', 'main', '{}', '2026-01-01 02:00:00+00', '2026-01-01 02:00:00+00', NULL, NULL);
INSERT INTO public.openai_sessions_names VALUES ('other', 'f0e8e2e3c5cb4e3d8e07688310d935a1', 'alice', 'main', '{}', '2026-01-01 02:00:00+00', '2026-01-01 02:00:00+00', NULL, NULL);
INSERT INTO public.openai_sessions_names VALUES ('', 'de4b46f9d3c84937b61d30c22cb8a8e3', 'carol', 'main', '{}', '2026-01-01 02:00:00+00', '2026-01-01 02:00:00+00', NULL, NULL);
INSERT INTO public.openai_sessions_schema VALUES (1, 2);
ALTER TABLE ONLY public.openai_sessions_branches
    ADD CONSTRAINT openai_sessions_branches_pkey PRIMARY KEY (tenant, entry_id, branch);
ALTER TABLE ONLY public.openai_sessions_branches
    ADD CONSTRAINT openai_sessions_branches_tenant_conversation_id_key UNIQUE (tenant, conversation_id);
ALTER TABLE ONLY public.openai_sessions_creations
    ADD CONSTRAINT openai_sessions_creations_pkey PRIMARY KEY (tenant, creation_id);
ALTER TABLE ONLY public.openai_sessions_deletions
    ADD CONSTRAINT openai_sessions_deletions_pkey PRIMARY KEY (tenant, conversation_id);
ALTER TABLE ONLY public.openai_sessions_model_usage
    ADD CONSTRAINT openai_sessions_model_usage_pkey PRIMARY KEY (tenant, entry_id, branch, turn, model, long_input);
ALTER TABLE ONLY public.openai_sessions_names
    ADD CONSTRAINT openai_sessions_names_pkey PRIMARY KEY (tenant, entry_id);
ALTER TABLE ONLY public.openai_sessions_names
    ADD CONSTRAINT openai_sessions_names_tenant_name_key UNIQUE (tenant, name);
ALTER TABLE ONLY public.openai_sessions_schema
    ADD CONSTRAINT openai_sessions_schema_pkey PRIMARY KEY (id);
CREATE INDEX openai_sessions_names_expiry ON public.openai_sessions_names USING btree (tenant, expires_at);
ALTER TABLE ONLY public.openai_sessions_branches
    ADD CONSTRAINT openai_sessions_branches_tenant_entry_id_fkey FOREIGN KEY (tenant, entry_id) REFERENCES public.openai_sessions_names(tenant, entry_id);
ALTER TABLE ONLY public.openai_sessions_model_usage
    ADD CONSTRAINT openai_sessions_model_usage_tenant_entry_id_fkey FOREIGN KEY (tenant, entry_id) REFERENCES public.openai_sessions_names(tenant, entry_id);
