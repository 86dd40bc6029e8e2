--
-- PostgreSQL database dump
--

\restrict Zr8wYk1

-- Dumped from database version 17.6

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

COPY public.actor (actor_id, first_name, last_name, last_update) FROM stdin;
1	IDA	LAMP	2022-02-15 09:34:33+00
2	BO	O'HARE	2022-02-15 09:34:33.5+05:30
3	Zoë	D\\ASH	2022-02-15 09:34:33+00
7	KIM	BIRD	2022-02-15 09:34:33+00
\.


COPY public.film (film_id, title, description, release_year, language_id, original_language_id, rental_duration, rental_rate, length, replacement_cost, rating, last_update, special_features, fulltext) FROM stdin;
1	PAPER LIGHTHOUSE	A keeper folds a lighthouse out of old letters	2012	1	\N	6	0.99	86	20.99	PG	2022-09-10 16:46:03.905795+00	{"Deleted Scenes","Behind the Scenes"}	'lighthous':2
2	TWO\tTABS\\ONE SLASH	First line\nsecond line\r\nthird\bfourth	2023	1	2	3	4.99	48	12.99	G	2022-09-10 16:46:03.905795+00	{Trailers}	'tab':2
3	CAF\303\251 \x41MORE	\N	\N	2	\N	7	2.99	\N	26.99	NC-17	2022-09-10 17:46:03+01	\N	'cafe':1
4	Überfahrt, "bei" Nacht		\N	6	1	5	10.50	117	100.00	\N	2022-09-10 16:46:03.905795+00	{}	'uberfahrt':1
5	\\N	The title is a backslash and an N	1901	1	\N	3	2.99	130	22.99	R	2022-09-10 16:46:03.905795+00	{"Deleted Scenes"}	'n':1
9	MOON FERRY	The last ferry to the moon leaves without its crew	2155	1	\N	32767	99.99	32767	999.99	PG-13	2022-09-10 16:46:03.905795+00	{Commentaries,"Behind the Scenes"}	'moon':1
\.


COPY public.language (language_id, name, last_update) FROM stdin;
1	English             	2022-02-15 09:34:33+00
2	Italian             	2022-02-15 09:34:33+00
6	German              	2022-02-15 09:34:33+00
\.


COPY public.category (category_id, name, last_update) FROM stdin;
1	Drama	2022-02-15 09:34:33+00
2	Sci-Fi	2022-02-15 09:34:33+00
\.


COPY public.film_actor (actor_id, film_id, last_update) FROM stdin;
1	1	2022-02-15 09:34:33+00
2	1	2022-02-15 09:34:33+00
3	2	2022-02-15 09:34:33+00
7	9	2022-02-15 09:34:33+00
\.


COPY public.film_category (film_id, category_id, last_update) FROM stdin;
1	1	2022-02-15 09:34:33+00
2	1	2022-02-15 09:34:33+00
9	2	2022-02-15 09:34:33+00
\.


COPY public.country (country_id, country, last_update) FROM stdin;
1	Côte d'Ivoire	2022-02-15 09:34:33+00
2	Chile	2022-02-15 09:34:33+00
\.


COPY public.city (city_id, city, country_id, last_update) FROM stdin;
1	Abidjan	1	2022-02-15 09:34:33+00
2	Valparaíso	2	2022-02-15 09:34:33+00
\.


COPY public.address (address_id, address, address2, district, city_id, postal_code, phone, last_update) FROM stdin;
1	1 Rue des Palmes	\N	Lagunes	1		555001	2022-02-15 09:34:33+00
2	22 Cerro Alegre	flat 3	Valparaíso	2	2340000	555002	2022-02-15 09:34:33+00
\.


COPY public.staff (staff_id, first_name, last_name, address_id, email, store_id, active, username, password, last_update, picture) FROM stdin;
0	Ada	Quill	1	ada@example.test	1	t	ada.quill	5ecre7ha5h0fada	2022-05-16 15:13:11.79328+00	\\x89504e47
1	Lev	Orr	2	\N	2	f	lev.orr	5ecre7ha5h0flev	2022-05-16 15:13:11.79328+00	\N
\.


COPY public.store (store_id, manager_staff_id, address_id, last_update) FROM stdin;
1	0	1	2022-02-15 09:34:33+00
2	1	2	2022-02-15 09:34:33+00
\.


COPY public.film_review (review_id, film_id, body) FROM stdin;
1	1	Not a table of this service
2	9	Nor this row
\.


COPY archive.film (film_id, title) FROM stdin;
1	Not our film either
\.


COPY public.customer (customer_id, store_id, first_name, last_name, email, address_id, activebool, create_date, last_update, active) FROM stdin;
1	1	MINA	VALE	mina@example.test	2	t	2022-02-14	2022-02-15 09:34:33+00	1
2	2	OTTO	REED	\N	1	f	2020-02-29	\N	\N
\.


COPY public.rental (rental_id, rental_date, inventory_id, customer_id, return_date, staff_id, last_update) FROM stdin;
1	2022-05-24 22:54:33+01	1	1	2022-05-28 19:40:33+01	1	2022-02-15 09:34:33+00
2	2022-05-24 23:03:39+01	2	2	\N	0	2022-02-15 09:34:33+00
5	2022-01-30 00:00:00+00	3	1	\N	1	2022-02-15 09:34:33+00
\.


COPY public.inventory (inventory_id, film_id, store_id, last_update) FROM stdin;
1	1	1	2022-02-15 09:34:33+00
2	9	2	2022-02-15 09:34:33+00
3	9	1	2022-02-15 09:34:33+00
\.


COPY public.payment_p2022_01 (payment_id, customer_id, staff_id, rental_id, amount, payment_date) FROM stdin;
16051	1	1	5	0.99	2022-01-31 01:58:52.222594+00
\.


COPY public."payment_p2022_05" (payment_id, customer_id, staff_id, rental_id, amount, payment_date) FROM stdin;
16052	1	1	1	2.99	2022-05-28 20:00:00+01
16053	2	0	2	10.00	2022-05-24 23:10:00.5+01
\.


SELECT pg_catalog.setval('public.actor_actor_id_seq', 7, true);
SELECT pg_catalog.setval('public.film_film_id_seq', 9, true);
SELECT pg_catalog.setval('public.customer_customer_id_seq', 2, true);

--
-- PostgreSQL database dump complete
--

\unrestrict Zr8wYk1
